"""Texts about a loop of the user's own."""

from __future__ import annotations

NO_LOOP = "No loop is running: run the cell with your loop, it goes on from here."
LEFT = "The loop was left before the update of this step. Run its cell again to go on from here."
RUNS_ALREADY = "A loop is running: wait for its end, or call dbg.end_loop()."
RUNS_TO_ITS_END = (
    "run(loop) trains for as long as the loop does: expected no steps and no epochs with it. "
    'dbg.break_when("step >= 7") pauses at a step.'
)
CLOSED = "This watch was closed; make a new one."
NESTED = (
    "A loop over batches() began inside of another one: one loop makes the steps. Iterate over the "
    "inner loader itself."
)
NO_UPDATE = (
    "The loop took {:,} batches without an update: pass the optimizer whose step() it calls to "
    "nbd.watch."
)
GIVES_BATCHES = "the loop reads its batches itself: change the dataset."
UNAVAILABLE = {
    "optimizer": "the loop calls the step() of its own optimizer: build another one there.",
    "accumulate": "the loop itself decides after how many batches it makes an update.",
    "excluded_samples": GIVES_BATCHES,
    "relabelled": GIVES_BATCHES,
}
BLOCKS_CELL = (
    "The loop blocks its cell",
    "No other cell runs meanwhile. In JupyterLab 4.6 with ipykernel 7 plots and controls work; "
    "elsewhere they may wait until the cell ends, and if training pauses, interrupt the kernel. "
    "Begin the cell with %%nbd, and everything works while it trains.",
)
TWO_SCHEDULES = (
    "The loop steps {}, and the control schedule is at {}: each changes what the other has set. "
    "dbg.set(schedule='constant') leaves the one of the loop."
)
NO_RESET = (
    "A trainer keeps counters that do not go back: make model and trainer again to begin again."
)
NO_UPDATE_OF_TRAINER = (
    "The trainer took {:,} batches, and made no update of the optimizer that is watched: it makes "
    "its updates by another one, or in a way of its own. Training was not changed."
)
NO_TRAINING = "The trainer is not training: run the cell that trains again to train on."
LEFT_IN_LOOK = "A check ended the pass of the loop"
LEFT_IN_LOOK_TEXT = (
    "The body of the loop left its pass while a check looked at a batch, as by break or by an "
    "exception: the rest of the pass is not trained on. Leave such an end out while dbg.on_trial "
    "is True, and run the cell of the loop again if it has ended."
)
NOTHING_AGAIN = "Steps of this loop cannot be made again"
CANNOT_REPEAT = "This loop cannot repeat a step."
SHARES_GRAPH = (
    "The loss of this loop holds graphs of earlier steps, which a check would free (retain_graph)."
)
BY_IDENTITY = (
    "The loop calls id(), and may know its batches by it: a look gives it copies, which it would "
    "not know. Give nbd.watch(loss=f), where f(model, batch) returns the loss, for this."
)
GUARDED = (
    "The loop raises or asserts ({}), and this check would give it samples, weights or modes that "
    "training does not. Give nbd.watch(loss=f), where f(model, batch) returns the loss, or leave "
    "that line out while dbg.on_trial is True, for this."
)
NOT_WHOLE = (
    "The loop is given whole batches of its loader only: with other ones it could fail, and end. "
    "Give nbd.watch(loss=f), where f(model, batch) returns the loss, for this."
)
NOTHING_GOES_BACK = (
    "{0} reads its batches itself and keeps counters that do not go back: nothing is rewound, "
    "forked or replayed. Everything else works."
)
FIXED = "{0} reads its batches itself: set the batch size of its loader before training."
UNWATCHED = "{0} trains without nbdebug: {1}"
SEVERAL_PROCESSES = "it runs in several processes, and one process alone can be watched."
NESTED_TRAINING = (
    "A training of {0} began inside of the one that is watched, with the same Watch. It trains "
    "without nbdebug, and the one around it stays watched. Give it a Watch of its own."
)
