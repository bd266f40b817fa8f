"""The loop over training steps: what that of any backend reads, and what it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

from .trace import Array

# why it ended: all steps made; a loss, or a step, that is not finite; no parameter moved
RUNNING, NO_LOSS, NO_STEP, STILL = 0, 1, 2, 3
# its progress: the next example of this epoch, steps and epochs done, loss of this epoch so far and over how many
# examples, largest move of the last step, is this epoch shuffled?, by what the gradient of the last step was scaled
AT, STEPS, EPOCHS, LOSS, SEEN, MOVE, SHUFFLED, FACTOR, PLACES = range(9)


@dataclass
class Loop:
    """A step for each of `rates`. All arrays but rows, order and random are of float64.

    rows: one per example. order: in which they are shown; shuffled at each epoch's begin, where `batch` is less than
    all, by the state in `random`. others: numbers of the Values that the loss uses beside the parameters.
    parameters; state, news: rows of one number per parameter, padded as the program says; news are the parameters and
    the state that the last step computed. gradients: of the last step, as the update had them. losses: of each epoch
    that ended. progress: see above, so that the next call continues there. before: steps made before progress began.
    """

    rows: Array
    order: Array
    random: Array
    others: Array
    parameters: Array
    state: Array
    news: Array
    gradients: Array
    rates: Array
    losses: Array
    progress: Array
    batch: int
    before: int
    tol: float | None
    clip: float | None
