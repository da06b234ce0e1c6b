"""The exception for mistakes that a user can mend."""


class LtsftError(ValueError):
    """A mistake in what was asked for: a config, a file, a model that does not fit.

    The message is one line that says what is expected, what was found and the way out; the command
    line prints it without a traceback and exits with status 2.
    """
