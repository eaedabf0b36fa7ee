"""Every error that fmedge raises on purpose, for ``except`` clauses.

All are of one tree. The number is the exit code with which the command line ends::

    Exception
     └─ FmedgeError                1   base of all; raised only as one of those below
         ├─ UsageError             2   a request that cannot be met: an unknown layer, a channel out of range
         ├─ ImageError             3   an image that is missing or cannot be decoded
         ├─ ArtifactError          4   a model file or its card that is missing, damaged or does not fit
         ├─ WeightsError           4   weights that are missing, damaged, incomplete or cannot be fetched
         ├─ ParityError            4   an exported model that does not compute what its weights say
         ├─ BackendUnavailable     5   an engine, or another optional package, that is not installed
         ├─ ProviderUnavailable    5   a device that the engine cannot use here
         ├─ SensorUnavailable      5   a figure that this machine has no sensor for
         ├─ BoardUnavailable       5   a board that cannot be reached, is not set up, or lost a job
         ├─ WriteError             6   a file that could not be written; the former one is still whole
         ├─ LimitExceeded          7   a bound on pixels, memory or time
         ├─ RegressionFound        8   a measurement that is worse than allowed
         └─ InputsSkipped          9   some of several images were of no use

``str(error)`` says what was got and what is allowed. ``error.hint`` is the next step in the words of the command line,
or empty, and ``error.exit_code`` is the number above. All three survive pickling.
"""

from fmedge.errors import ArtifactError as ArtifactError
from fmedge.errors import BackendUnavailable as BackendUnavailable
from fmedge.errors import BoardUnavailable as BoardUnavailable
from fmedge.errors import FmedgeError as FmedgeError
from fmedge.errors import ImageError as ImageError
from fmedge.errors import InputsSkipped as InputsSkipped
from fmedge.errors import LimitExceeded as LimitExceeded
from fmedge.errors import ParityError as ParityError
from fmedge.errors import ProviderUnavailable as ProviderUnavailable
from fmedge.errors import RegressionFound as RegressionFound
from fmedge.errors import SensorUnavailable as SensorUnavailable
from fmedge.errors import UsageError as UsageError
from fmedge.errors import WeightsError as WeightsError
from fmedge.errors import WriteError as WriteError

__all__ = [
    "ArtifactError",
    "BackendUnavailable",
    "BoardUnavailable",
    "FmedgeError",
    "ImageError",
    "InputsSkipped",
    "LimitExceeded",
    "ParityError",
    "ProviderUnavailable",
    "RegressionFound",
    "SensorUnavailable",
    "UsageError",
    "WeightsError",
    "WriteError",
]
