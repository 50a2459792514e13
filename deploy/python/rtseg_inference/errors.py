"""The exception for errors that the user can fix."""


class InputError(ValueError):
    """Something in the input cannot be used.

    The message is one sentence: what was expected, what was found and how to fix it. The command prints it without a
    traceback and exits with status 2; in Python it is an ordinary ``ValueError``.
    """
