"""This package beside others, on the same data, on the same machine, in turn: ``python -m benchmarks.peers``.

Every system is a script in ``systems/`` that runs in a process of its own, on one core, in an environment of its own,
and knows nothing of this package but a folder. There it finds

``task.json``
    ``model`` ("known", "dp", "dp_gamma" or "mfm"), ``N``, ``D``, ``n``; the Normal-Inverse-Wishart prior as ``mu_0``,
    ``kappa_0``, ``nu_0``, ``Psi_0``; ``alpha`` (per component where n is known, otherwise the concentration of a
    Dirichlet process, which for "dp_gamma" is Gamma(``alpha_shape``, rate ``alpha_rate``)); ``chains``, ``seed``;
    ``draws``, the most to keep in a chain; ``seconds``, about how long all chains together should take after warm-up;
    ``keep``, False where only the cost of an iteration is asked for; ``started``, when the process was, in seconds
    since 1970;
``X.f64``
    the rows, N x D doubles, row after row;
``z0.i32``
    chains x N labels from 0, a k-means clustering for each chain, for systems that take a start;

and there it leaves ``result.json``

    ``version``; ``first_draw_seconds``, by the clock, from ``started`` to the first draw; ``warmup_seconds`` and
    ``seconds``, CPU seconds of all chains before and while drawing, compilation in neither; ``iterations``, sweeps (or
    trajectories, or passes) in those ``seconds``, all chains together; ``arrays``, the shape of each array; ``note``

beside the arrays, each in a file NAME.f64 (or NAME.i32, counted from 0) in C order: for a known n ``weights``
(C, T, K), ``means`` (C, T, K, D) and ``covariances`` (C, T, K, D, D); otherwise ``labels`` (C, T, N), or the three of
known n for mixtures that are truncated. What is measured from them is computed by ``judge.py``, alike for all.
"""
