"""Segmentation of many images and videos by many processes, on one machine or a cluster, with Ray Data.

The driver lists the inputs (:mod:`.inputs`) and splits them into units (:mod:`.units`). Workers (:mod:`.worker`) read,
segment and write; the last thing that one writes of a unit is its record, which makes the unit finished. The driver
(:mod:`.job`) sees counts only. Units that are lost with their worker are given out again, in rounds, and a repeated run
leaves out those that have a record. In the end the records are put together into one table (:mod:`.table`).
"""
