"""Trains until it is killed; says at each tenth of a second how far it has come."""

from __future__ import annotations

import sys
import time

import torch
from torch import nn

import nbdebug as nbd
from nbdebug.runs.recording import store_writer

# A kernel that waits for another one to make the store asks again soon.
store_writer.RETRY_SECONDS = 2.0

X = torch.randn(200, 8)
y = (X.sum(1) > 0).long()
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
dbg = nbd.Debugger(model, (X, y), nn.CrossEntropyLoss(), runs=sys.argv[1], name=sys.argv[2])
dbg.note("begun")
dbg.start()
while True:
    print(dbg.history.status.step, flush=True)
    time.sleep(0.1)
