"""What calls, methods and attributes of the universe do: the allow-list. Everything absent is refused.

A result is a Type, or one of the tags in ``Tag``, which say how it follows from the arguments.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from sidestep.sharding.universe.types import (
    BOOL,
    BYTES,
    COMPLEX,
    DTYPE,
    FLOAT,
    INT,
    NONE,
    NUM,
    RANGE,
    SLICE,
    STR,
    Type,
    array_of,
    list_of,
    tuple_of,
    tuples_of,
)  # fmt: skip

Tag = Literal[
    "array", "numarr", "number", "list", "tuple", "set", "dict", "ddict", "iter", "enumerate", "zip", "sum", "either",
    "map", "filter", "fresh", "deepcopy", "copy", "mutates", "pops", "reduce", "unknown", "element", "getdefault",
    "views", "view", "same",
]  # fmt: skip
Result = Type | Tag


def names(words: str, prefix: str = "") -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(prefix + word for word in words.split())


def _why(names: str, code: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), code)


def _all(names: str, result: Result, prefix: str = "") -> dict[str, Result]:
    return dict.fromkeys((prefix + name for name in names.split()), result)


#: built-in functions; those that are in neither this table nor the refused ones are unknown
BUILTINS: Final[dict[str, Result]] = {
    **_all("len ord", INT), **_all("any all isinstance callable issubclass bool", BOOL), "range": RANGE, "int": INT,
    "float": FLOAT, "complex": COMPLEX, **_all("str chr bin hex oct repr ascii format", STR), "bytes": BYTES,
    **_all("abs round pow", "number"), "divmod": tuple_of(NUM, NUM), "slice": SLICE, **_all("list sorted", "list"),
    "tuple": "tuple", **_all("set frozenset", "set"), "dict": "dict", "reversed": "iter", "enumerate": "enumerate",
    "zip": "zip", "sum": "sum", **_all("min max", "either"), "map": "map", "filter": "filter", "bytearray": "fresh",
}  # fmt: skip
EXCEPTIONS: Final = names(
    "ValueError TypeError IndexError KeyError RuntimeError ZeroDivisionError ArithmeticError AssertionError "
    "NotImplementedError OverflowError Exception StopIteration LookupError AttributeError RecursionError"
)
IO: Final = names("print open input breakpoint help exit quit")
#: depend on where or when they run, or reach around the analysis
DYNAMIC: Final = names(
    "exec eval compile globals locals vars setattr delattr getattr hasattr __import__ super object type dir"
)
STATEFUL: Final = names("next iter memoryview id hash")
#: built-in names that may stand as values (type tests, keys, map)
VALUES: Final = names("int float str bool list dict set tuple complex bytes len abs ord chr sum min max frozenset")
#: built-ins whose result follows the order of what they iterate over
ORDERED: Final = names("list tuple sum min max sorted map filter zip enumerate str repr format ascii dict")

_MATH_INTS = "ceil floor factorial gcd isqrt lcm perm comb trunc"
_MATH_BOOLS = "isclose isfinite isinf isnan"
_MATH = (
    "acos acosh asin asinh atan atan2 atanh copysign cos cosh degrees dist e erf erfc exp exp2 expm1 fabs fmod fsum "
    "gamma hypot inf ldexp lgamma log log10 log1p log2 nan nextafter pi pow radians remainder sin sinh sqrt tan tanh "
    "tau ulp cbrt fma"
)
_CMATH = "acos acosh asin asinh atan atanh cos cosh exp log log10 rect sin sinh sqrt tan tanh"
_NUMPY = (
    "eye identity tri diag mgrid bincount argwhere flatnonzero searchsorted digitize inner dot matmul vdot tensordot "
    "kron cross einsum convolve correlate interp clip round around rint floor ceil trunc fix pad append insert delete "
    "union1d intersect1d setdiff1d isin packbits unpackbits percentile quantile median average mean std var "
    "bitwise_and bitwise_or bitwise_xor left_shift right_shift invert logical_and logical_or logical_not logical_xor "
    "equal not_equal less less_equal greater greater_equal isnan isfinite isinf isclose abs absolute fabs sign sqrt "
    "cbrt square exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan arctan2 sinh cosh tanh arcsinh "
    "arccosh arctanh hypot degrees radians deg2rad rad2deg power float_power mod fmod remainder floor_divide "
    "true_divide divide multiply add subtract negative positive reciprocal maximum minimum fmax fmin heaviside conj "
    "conjugate angle trace prod sum nansum nanmean nanmax nanmin max min amax amin ptp argmax argmin all any "
    "count_nonzero cov corrcoef polyfit polyval poly roots vander choose compress extract select take "
    "ravel_multi_index iscomplexobj argpartition partition"
)
_NUMPY_ARRAYS = (
    "zeros ones empty full zeros_like ones_like full_like empty_like arange linspace logspace eye identity array copy "
    "concatenate stack vstack hstack dstack column_stack tile repeat roll cumsum cumprod diff outer sort argsort tri "
    "tril triu where"
)
_NUMPY_MANY = (
    "histogram unique meshgrid nonzero indices mgrid divmod gradient triu_indices tril_indices diag_indices ix_ "
    "unravel_index histogram2d"
)
_NUMPY_SCALARS = (
    "float64 float32 float16 int64 int32 int16 int8 uint64 uint32 uint16 uint8 intp uintp complex128 complex64 bool_ "
    "double single longlong"
)
_LINALG = "norm det inv solve qr svd eig eigh eigvals eigvalsh cholesky lstsq pinv matrix_rank matrix_power slogdet"
_FFT = "fft ifft rfft irfft fft2 ifft2 fftn ifftn fftshift ifftshift fftfreq rfftfreq"
_STRINGS = "ascii_letters ascii_lowercase ascii_uppercase digits hexdigits octdigits punctuation whitespace printable"
_OPERATORS = "add sub mul truediv floordiv mod pow neg pos abs and_ or_ xor invert eq ne lt le gt ge not_ truth"

#: functions and constants of modules, by their full names
DOTTED: Final[dict[str, Result]] = {
    **_all(_MATH, FLOAT, "math."), **_all(_MATH_INTS, INT, "math."), **_all(_MATH_BOOLS, BOOL, "math."),
    **_all("prod sumprod", NUM, "math."), "math.frexp": tuple_of(FLOAT, INT), "math.modf": tuple_of(FLOAT, FLOAT),
    **_all(_CMATH, COMPLEX, "cmath."), **_all("isclose isfinite isinf isnan", BOOL, "cmath."),
    **_all("phase pi e inf nan", FLOAT, "cmath."), "cmath.polar": tuple_of(FLOAT, FLOAT),
    **_all(_NUMPY, "numarr", "numpy."), **_all(_NUMPY_ARRAYS, "array", "numpy."),
    **_all(_NUMPY_MANY, "fresh", "numpy."), **_all("allclose array_equal array_equiv isscalar", BOOL, "numpy."),
    **_all("ndim size", INT, "numpy."), "numpy.shape": tuples_of(INT), **_all(_NUMPY_SCALARS, NUM, "numpy."),
    **_all(_LINALG, "fresh", "numpy.linalg."), **_all(_FFT, "array", "numpy.fft."),
    **_all("pi e inf nan euler_gamma", FLOAT, "numpy."), "numpy.newaxis": NONE,
    **_all(_OPERATORS, "unknown", "operator."), **_all(_STRINGS, STR, "string."), "functools.reduce": "reduce",
    "copy.deepcopy": "deepcopy", "copy.copy": "copy", **_all("heappush heapify", "mutates", "heapq."),
    **_all("heappop heapreplace heappushpop", "pops", "heapq."), **_all("nlargest nsmallest", "list", "heapq."),
    **_all("bisect bisect_left bisect_right", INT, "bisect."),
    **_all("insort insort_left insort_right", "mutates", "bisect."),
    "sys.maxsize": INT, "sys.float_info.epsilon": FLOAT, "sys.float_info.max": FLOAT, "sys.float_info.min": FLOAT,
}  # fmt: skip
#: numpy's functions that may return a view of an argument
VIEWS: Final = names(
    "asarray ascontiguousarray asfortranarray atleast_1d atleast_2d atleast_3d reshape ravel transpose swapaxes "
    "moveaxis rollaxis squeeze expand_dims broadcast_to broadcast_arrays split array_split hsplit vsplit rot90 "
    "fliplr flipud flip real imag diagonal asanyarray real_if_close nan_to_num diagflat",
    "numpy.",
)
#: numpy's functions that write into their first argument
WRITES_FIRST: Final = names(
    "copyto put place putmask fill_diagonal put_along_axis add.at subtract.at multiply.at", "numpy."
)
#: numpy's functions whose third positional argument is written
WRITES_THIRD: Final = names("add subtract multiply divide maximum minimum dot matmul power mod", "numpy.")
#: these may stand as arguments only
DTYPES: Final = frozenset({"numpy.dtype", "numpy.iinfo", "numpy.finfo"})
ITERTOOLS: Final = names(
    "permutations combinations combinations_with_replacement product chain zip_longest islice accumulate pairwise "
    "starmap takewhile dropwhile groupby compress",
    "itertools.",
)
CONTAINERS: Final[dict[str, Result]] = {
    "collections.deque": "list", "collections.Counter": "dict", "collections.OrderedDict": "dict",
    "collections.defaultdict": "ddict",
}  # fmt: skip
#: why functions of other modules are refused
MODULES: Final[dict[str, str]] = {
    **dict.fromkeys(("random", "numpy.random", "secrets", "uuid"), "rng"),
    **dict.fromkeys(("time", "datetime"), "clock"),
    **_why("os sys io subprocess socket requests urllib shutil pathlib logging tempfile sqlite3 http ssl", "io"),
    **_why("threading multiprocessing asyncio concurrent signal queue", "concurrency"),
    "ctypes": "foreign",
}


@dataclass(frozen=True, slots=True)
class Method:
    """A method, by name alone: whether it mutates its receiver, and what it returns."""

    mutates: bool
    result: Result


def _methods(rows: Iterable[tuple[str, bool, Result]]) -> dict[str, Method]:
    return {name: Method(mutates, result) for names, mutates, result in rows for name in names.split()}


METHODS: Final = _methods((
    ("append extend insert add update appendleft extendleft", True, NONE),
    (
        "remove sort reverse clear discard rotate difference_update intersection_update symmetric_difference_update "
        "fill resize put subtract",
        True, NONE,
    ),
    ("pop popitem popleft setdefault", True, "element"),
    ("copy union intersection difference symmetric_difference", False, "same"),
    ("count index find rfind rindex bit_length bit_count", False, INT),
    ("keys values items elements most_common", False, "iter"),
    ("get", False, "getdefault"),
    (
        "issubset issuperset isdisjoint startswith endswith isdigit isalpha isalnum isupper islower isspace isnumeric "
        "isdecimal isidentifier istitle is_integer isprintable isascii",
        False, BOOL,
    ),
    (
        "upper lower strip lstrip rstrip replace join format title capitalize swapcase center ljust rjust zfill "
        "casefold expandtabs translate removeprefix removesuffix hex decode maketrans",
        False, STR,
    ),
    ("encode to_bytes tobytes", False, BYTES),
    ("split rsplit splitlines rpartition", False, list_of(STR)),
    ("partition", True, "fresh"),
    ("conjugate conj", False, "numarr"),
    (
        "sum mean std var prod min max argmin argmax cumprod dot item round clip trace ptp repeat take searchsorted "
        "argsort any all compress choose argpartition",
        False, "numarr",
    ),
    ("astype flatten cumsum", False, "array"),
    ("reshape transpose ravel squeeze swapaxes view diagonal", False, "view"),
    ("as_integer_ratio fromhex tolist nonzero", False, "fresh"),
))  # fmt: skip
#: methods whose calls on a fixed receiver can be written down and done later, in order
LOGGED: Final = frozenset({"append", "extend", "add", "discard", "update", "appendleft"})
#: methods through which arguments come to be held by the receiver
HOLDS: Final = names("append add insert appendleft extend update setdefault extendleft")
#: methods whose result follows the order of their argument or receiver
ORDERED_METHODS: Final = names("join extend pop popitem update most_common elements extendleft")

ATTRIBUTES: Final[dict[str, Result]] = {
    "shape": tuples_of(INT), **_all("size ndim itemsize nbytes numerator denominator start stop step", INT),
    "dtype": DTYPE, **_all("real imag T flat", "view"),
}  # fmt: skip
#: attributes that say how an array is, and read none of its elements
FORM: Final = names("shape ndim size dtype itemsize nbytes")
ARRAY: Final = array_of()
