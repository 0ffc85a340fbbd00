"""The sampler leaves the prior's joint distribution invariant, step by step and as a whole; planted bugs are caught.

RATE is the probability that any test of this file fails although all is well: it is divided by the number of tests,
and then by the number of statistics that a test compares.
"""

from collections.abc import Callable

import numpy as np
import pytest
from harness import Gibbs, assert_p_values, some_niw
from invariance import Story, Transition, invariance_p_values, shuffled
from oracle import Floats, Ints

RATE = 1e-3
REPLICATES = 2000
SWEEPS = 4
MOVES = 40
SEED = 20_250_601

# Few observations and a tight prior, so that a step that is a little wrong moves the result by a good part of its
# spread.
STORIES = {
    f"{D}D, K={K}": Story(10, K, alpha, some_niw(D, D + 3.0)) for D in (1, 2) for K, alpha in ((2, 1.3), (3, 0.5))
}

Step = Callable[[Gibbs, np.random.Generator, Floats, Floats, Floats, Ints], tuple[Floats, Floats, Floats, Ints]]


def transition(story: Story, step: Step) -> Transition:
    """A step of one chain as a function of everything; coordinates are taken about a point that is not 0."""
    rng = np.random.default_rng([SEED, 2])
    one_group = story.niw.mu_0 + rng.standard_normal((story.N, story.D))
    gibbs = Gibbs(one_group, story.K, story.alpha, story.niw, np.linspace(0.4, -0.3, story.D))
    # Sweeps make moves that were learned in warm-up; that they were learned from other data changes nothing.
    if step is whole_sweeps:
        gibbs.warm_up(rng, SWEEPS)
    elif step is many_launches:
        gibbs.warm_up(rng, 1, moves=[MOVES, 0, 0, 0, 0])
    elif step is many_recalls:
        gibbs.warm_up(rng, 1, moves=[0, MOVES, 0, 0, 0])
    elif step is many_rows:
        gibbs.warm_up(rng, 1, moves=[0, 0, MOVES, 0, 0])
    elif step is many_seeds:
        gibbs.warm_up(rng, 1, moves=[0, 0, 0, MOVES, 0])
    elif step is many_searches:
        gibbs.warm_up(rng, 1, moves=[0, 0, 0, 0, MOVES])

    def step_with(
        rng: np.random.Generator, w: Floats, mu: Floats, Sigma: Floats, z: Ints, X: Floats
    ) -> tuple[Floats, Floats, Floats, Ints]:
        gibbs.set_data(X)
        return step(gibbs, rng, w, mu, Sigma, z)

    return step_with


def whole_sweeps(
    gibbs: Gibbs, rng: np.random.Generator, w: Floats, mu: Floats, Sigma: Floats, z: Ints
) -> tuple[Floats, Floats, Floats, Ints]:
    gibbs.set_labels(z, occupied_first=True)
    gibbs.sweeps(rng, SWEEPS)
    return shuffled(rng, *gibbs.parameters(), gibbs.labels())


def many_launches(
    gibbs: Gibbs, rng: np.random.Generator, w: Floats, mu: Floats, Sigma: Floats, z: Ints
) -> tuple[Floats, Floats, Floats, Ints]:
    """One sweep with so many split-merge moves that a bias of theirs shows, which a sweep's labels would mend."""
    gibbs.set_labels(z, occupied_first=True)
    gibbs.sweeps(rng, 1)
    return shuffled(rng, *gibbs.parameters(), gibbs.labels())


def many_recalls(
    gibbs: Gibbs, rng: np.random.Generator, w: Floats, mu: Floats, Sigma: Floats, z: Ints
) -> tuple[Floats, Floats, Floats, Ints]:
    """The same, with launches from the library."""
    return many_launches(gibbs, rng, w, mu, Sigma, z)


def many_rows(
    gibbs: Gibbs, rng: np.random.Generator, w: Floats, mu: Floats, Sigma: Floats, z: Ints
) -> tuple[Floats, Floats, Floats, Ints]:
    """The same, with moves row by row."""
    return many_launches(gibbs, rng, w, mu, Sigma, z)


def many_seeds(
    gibbs: Gibbs, rng: np.random.Generator, w: Floats, mu: Floats, Sigma: Floats, z: Ints
) -> tuple[Floats, Floats, Floats, Ints]:
    """The same, with moves from seeds."""
    return many_launches(gibbs, rng, w, mu, Sigma, z)


def many_searches(
    gibbs: Gibbs, rng: np.random.Generator, w: Floats, mu: Floats, Sigma: Floats, z: Ints
) -> tuple[Floats, Floats, Floats, Ints]:
    """The same, with moves by searches."""
    return many_launches(gibbs, rng, w, mu, Sigma, z)


def weights_given_labels(
    gibbs: Gibbs, rng: np.random.Generator, w: Floats, mu: Floats, Sigma: Floats, z: Ints
) -> tuple[Floats, Floats, Floats, Ints]:
    gibbs.set_labels(z)
    return gibbs.draw_weights(rng), mu, Sigma, z


def components_given_labels(
    gibbs: Gibbs, rng: np.random.Generator, w: Floats, mu: Floats, Sigma: Floats, z: Ints
) -> tuple[Floats, Floats, Floats, Ints]:
    gibbs.set_labels(z, centre=mu)  # statistics about the old means, as in a sweep
    return (w, *gibbs.draw_components(rng), z)


def parameters_given_labels(
    gibbs: Gibbs, rng: np.random.Generator, w: Floats, mu: Floats, Sigma: Floats, z: Ints
) -> tuple[Floats, Floats, Floats, Ints]:
    gibbs.set_labels(z, centre=mu, occupied_first=True)
    gibbs.draw_parameters(rng)
    return shuffled(rng, *gibbs.parameters(), gibbs.labels())


def labels_given_parameters(
    gibbs: Gibbs, rng: np.random.Generator, w: Floats, mu: Floats, Sigma: Floats, z: Ints
) -> tuple[Floats, Floats, Floats, Ints]:
    gibbs.set_parameters(w, mu, Sigma)
    gibbs.label_pass(int(rng.integers(2**63)))
    return w, mu, Sigma, gibbs.labels()


def parameters_then_labels(
    gibbs: Gibbs, rng: np.random.Generator, w: Floats, mu: Floats, Sigma: Floats, z: Ints
) -> tuple[Floats, Floats, Floats, Ints]:
    """A sweep without moves of whole clusters (Diebolt & Robert 1994)."""
    for _ in range(SWEEPS):
        gibbs.set_labels(z, occupied_first=True)
        gibbs.draw_parameters(rng)
        gibbs.label_pass()
        z = gibbs.labels()
    return shuffled(rng, *gibbs.parameters(), z)


CONDITIONALS = [
    weights_given_labels,
    components_given_labels,
    parameters_given_labels,
    labels_given_parameters,
    parameters_then_labels,
    many_launches,
    many_rows,
    many_seeds,
    many_searches,
    many_recalls,
]
BOTH = ["1D, K=2", "2D, K=3"]
TESTS = len(STORIES) + len(CONDITIONALS) * len(BOTH)


@pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
def test_whole_sweep_leaves_the_prior_invariant(story: Story) -> None:
    p = invariance_p_values(story, transition(story, whole_sweeps), replicates=REPLICATES, seed=SEED)
    assert_p_values(p, RATE / TESTS)


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("conditional", CONDITIONALS, ids=lambda step: step.__name__)
def test_conditional_leaves_the_prior_invariant(name: str, conditional: Step) -> None:
    story = STORIES[name]
    p = invariance_p_values(story, transition(story, conditional), replicates=REPLICATES, seed=SEED)
    assert_p_values(p, RATE / TESTS)


# --- Bugs planted between the conditionals: the same check, and it must fail (test_planted_bugs.py has more) ---


def composed(*, counted: bool = True, extra_nu: float = 0.0, weighted: bool = True, with_log_det: bool = True) -> Step:
    """A sweep put together from the package's conditionals, with room for a bug between them."""

    def step(
        gibbs: Gibbs, rng: np.random.Generator, w: Floats, mu: Floats, Sigma: Floats, z: Ints
    ) -> tuple[Floats, Floats, Floats, Ints]:
        for _ in range(SWEEPS):
            gibbs.set_labels(z)
            w = gibbs.draw_weights(rng, counted)
            mu, Sigma = gibbs.draw_components(rng, extra_nu)
            gibbs.set_parameters(w, mu, Sigma, weighted=weighted, with_log_det=with_log_det)
            gibbs.label_pass(int(rng.integers(2**63)))
            z = gibbs.labels()
        return w, mu, Sigma, z

    return step


@pytest.mark.parametrize(
    ("bug", "caught_by"),
    [
        ({}, None),
        ({"counted": False}, "own weight"),
        ({"extra_nu": 1.0}, "log det Sigma_0"),
        ({"weighted": False}, "own weight"),
        ({"with_log_det": False}, "share of the widest"),
    ],
    ids=[
        "none",
        "weights that ignore the counts",
        "nu off by one",
        "labels that ignore the weights",
        "no log determinant",
    ],
)
def test_planted_bug_between_the_conditionals_is_caught(bug: dict[str, float], caught_by: str | None) -> None:
    story = STORIES["2D, K=3"]
    p = invariance_p_values(story, transition(story, composed(**bug)), replicates=REPLICATES, seed=SEED)
    if caught_by is None:
        assert_p_values(p, RATE)
    else:
        with pytest.raises(AssertionError, match="p-values below"):
            assert_p_values(p, RATE / TESTS)
        assert p[caught_by] < RATE / TESTS / len(p)
