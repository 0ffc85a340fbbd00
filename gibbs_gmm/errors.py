"""Errors that are not about arguments."""


class NumericalError(ArithmeticError):
    """A matrix is not positive definite; the message names chain, sweep or draw, and component.

    Examples
    --------
    >>> import gibbs_gmm as gg
    >>> issubclass(gg.NumericalError, ArithmeticError)
    True
    """
