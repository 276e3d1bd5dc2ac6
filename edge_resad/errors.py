"""What an operator can put right: every message says what is, what was expected and what to do.

EdgeResadError
├── BundleError    a bundle is damaged, foreign or of another version
├── EngineError    TensorRT is missing, too old or refuses, or an engine does not fit here
├── BankError      a reference bank does not fit the bundle, or cannot be made from these references
├── ImageError     an image or a folder of images cannot be used
├── CacheError     features cannot be kept on the disk, or there is no room for them
├── TrainingError  a head cannot be trained on this, or training cannot go on
├── PicturesError  pictures of parts cannot be taken, found or copied
├── CameraError    a camera cannot be opened or has gone
├── OutputError    a pin or a PLC that outputs need is missing, taken or silent
├── SettingsError  the station file says something that cannot be
├── SpoolError     the outbox cannot be opened or written
├── BrokerError    the broker refuses us
└── ControlError   a running station cannot be asked, or cannot do what it is told
"""


class EdgeResadError(Exception):
    """Something the operator can put right; the command line prints it as one sentence and exits with 1."""


class BundleError(EdgeResadError):
    """A bundle is damaged, foreign or of another version."""


class EngineError(EdgeResadError):
    """TensorRT is missing, too old or refuses, or an engine does not fit here."""


class BankError(EdgeResadError):
    """A reference bank does not fit the bundle, or cannot be made from these references."""


class ProductError(EdgeResadError):
    """A product's recipe cannot be used, written or moved."""


class CalibrationError(EdgeResadError):
    """INT8's ranges cannot be found with these images, or do not fit what is exported."""


class ImageError(EdgeResadError):
    """An image or a folder of images cannot be used."""


class CacheError(EdgeResadError):
    """Features cannot be kept on the disk, or there is no room for them."""


class TrainingError(EdgeResadError):
    """A head cannot be trained on this, or training cannot go on."""


class PicturesError(EdgeResadError):
    """Pictures of parts cannot be taken, found or copied."""


class CameraError(EdgeResadError):
    """A camera cannot be opened or has gone."""


class OutputError(EdgeResadError):
    """A pin or a PLC that outputs need is missing, taken or silent."""


class SettingsError(EdgeResadError):
    """The station file says something that cannot be."""


class SpoolError(EdgeResadError):
    """The outbox cannot be opened or written."""


class BrokerError(EdgeResadError):
    """The broker refuses us."""


class ControlError(EdgeResadError):
    """A running station cannot be asked, or cannot do what it is told."""
