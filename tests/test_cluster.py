"""Errors of Ray's start, which is not started here."""

import pytest

pytest.importorskip("ray", reason="the extra ray is not installed")
import ray

from paddle_rtseg import cluster
from paddle_rtseg.errors import InputError


@pytest.mark.parametrize(
    ("address", "words"),
    [(None, "cannot start Ray here .*timed out.*; stop other work"), ("auto", "cannot join the Ray cluster 'auto' ")],
)
def test_start_that_fails_is_a_sentence(address, words, monkeypatch):
    def fail(**options):
        raise Exception("The current node timed out during startup.\nMore lines")

    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setattr(cluster, "_cluster_here", lambda: "")
    with pytest.raises(InputError, match=words), cluster.connected(address):
        pass


def test_killed_cluster_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(cluster, "_cluster_here", lambda: "127.0.0.1:1")
    with pytest.raises(InputError, match=r"a Ray cluster at '127\.0\.0\.1:1', which does not answer"):
        with cluster.connected("auto"):
            pass
