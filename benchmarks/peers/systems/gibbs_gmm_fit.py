"""This package, through its front door, one thread. For a known n every sweep is kept, otherwise what fit() keeps."""

from driver import cpu, how_many, task
from scipy import stats

import gibbs_gmm as gg

t = task()
prior = gg.NormalInverseWishart(t.mu_0, t.kappa_0, t.nu_0, t.Psi_0)
weights = {
    "known": lambda: gg.FiniteMixture(t.n, t.alpha),
    "dp": lambda: gg.DirichletProcess(t.alpha),
    "dp_gamma": lambda: gg.DirichletProcess(stats.gamma(t.alpha_shape, scale=1.0 / t.alpha_rate)),
    "mfm": lambda: gg.MixtureOfFiniteMixtures(),
}[t.model]()


def run(draws: int, **settings: object) -> gg.Trace:
    """The run that is timed; with everything at its default but what the task fixes."""
    return gg.fit(
        t.X,
        weights,
        prior=None if t.model == "mfm" else prior,
        draws=draws,
        chains=t.chains,
        rng=t.seed,
        threads=1,
        progress=False,
        save_assignments=t.keep,
        **settings,
    )


gg.fit(t.X, weights, prior=prior, draws=1, warmup=0, chains=1, rng=t.seed, threads=1, progress=False)
first = t.since_start()
warm = {"thin": 1} if t.model == "known" else {}
if not t.keep:
    warm |= {"warmup": 20}
run(1, **warm)  # everything that a run of this length compiles
before = min(cpu(lambda: run(1, **warm))[0] for _ in range(3 if t.N <= 10_000 else 1))
pilot = 6 if t.N > 10_000 else 1001 if t.model == "known" else 101
each = (cpu(lambda: run(pilot, **warm))[0] - before) / (pilot - 1)
if t.settings.get("reference") and t.model == "known":  # the whole time, for as many draws as are kept
    warm |= {"thin": how_many(each, t.seconds, 1_000_000) // t.draws + 1}
    before, each = cpu(lambda: run(1, **warm))[0], each * warm["thin"]
draws = how_many(each, t.seconds, t.draws)
seconds, trace = cpu(lambda: run(1 + draws, **warm))
if t.model == "known":
    arrays = {name: getattr(trace, name) for name in ("weights", "means", "covariances")} if t.keep else {}
else:
    arrays = {"labels": trace.assignments.astype("int32")}
t.finish(
    arrays,
    version=gg.__version__,
    first_draw_seconds=first,
    warmup_seconds=before,
    seconds=seconds - before,
    iterations=draws * trace.settings["thin"] * t.chains,
)
