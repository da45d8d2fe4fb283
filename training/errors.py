"""What can go wrong in a training run, as one tree; each text is one line fit for a person.

TrainingError
├── ConfigError      a preset, a key or a value is wrong
├── DataError        the data cannot be trained on
└── PublishError     the model was trained but must not be, or cannot be, published
"""


class TrainingError(Exception):
    """The run ends with exit code 2 and publishes nothing."""


class ConfigError(TrainingError):
    """The text names the key."""


class DataError(TrainingError):
    """The text names the file."""


class PublishError(TrainingError):
    """The exported graph is not the trained model, or the folder cannot be written."""
