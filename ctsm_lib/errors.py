"""The one error type that users are meant to read."""


class CtsmError(Exception):
    """Something the user can mend; the message names the file, line or value and the way out.

    The command line prints it and exits with 1. Anything else that is raised is a bug of ours.
    """


class ConfigError(CtsmError):
    """A setting that does not exist or cannot have the given value."""


class DataError(CtsmError):
    """A data file that is missing, unreadable or not what it says it is."""


class RunError(CtsmError):
    """A run folder that is missing, incomplete or made by something else."""
