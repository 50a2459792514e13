"""The one exception of this package for what its user can put right."""


class InputError(ValueError):
    """What was given cannot be used.

    The message is one sentence that says what was expected, what came and how to put it right. The command prints
    it without a traceback and exits with status 2; in Python it is an ordinary ``ValueError``.
    """
