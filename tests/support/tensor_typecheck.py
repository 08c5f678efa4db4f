"""The checker that jaxtyping puts on every annotated function of `worldmodel` under pytest.

Ints pass where floats are annotated, as in every type checker.
"""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
