"""What both trainings share: the clock, the device, the running average of the weights, and saving."""

import argparse
import copy
import os
import time

import torch


def parser(description, state):
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--state", default=state, help=f"file of the training's state (default {state})")
    options.add_argument("--resume", action="store_true", help="go on from the state file")
    options.add_argument("--minutes", type=float, default=60, help="stop after this time (default 60)")
    options.add_argument("--batch", type=int, default=8, help="clips a step (default 8)")
    options.add_argument("--rate", type=float, help="learning rate")
    options.add_argument("--settle", action="store_true", help="let the rate fall to nothing over this run")
    options.add_argument("--seed", type=int, default=0)
    return options


def device():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast():
    return torch.autocast(device().type, torch.bfloat16)


class Average:
    """A copy of the weights that follows them slowly; at first it follows faster."""

    def __init__(self, module, rate=0.999):
        self.module, self.rate, self.steps = copy.deepcopy(module).eval().requires_grad_(False), rate, 0

    @torch.no_grad()
    def update(self, module):
        self.steps += 1
        rate = min(self.rate, (1 + self.steps) / (10 + self.steps))
        for mine, theirs in zip(self.module.parameters(), module.parameters()):
            mine.lerp_(theirs, 1 - rate)


class Training:
    """A module, its average and its optimizer, saved every few minutes and at the end."""

    SAVE_SECONDS = 180

    def __init__(self, module, options, rate, average=0.999):
        self.options, self.step = options, 0
        self.module = module.to(device())
        self.average = Average(self.module, average)
        self.rate = options.rate or rate
        self.optimizer = torch.optim.AdamW(self.module.parameters(), self.rate, betas=(0.9, 0.98), weight_decay=0)
        if options.resume:
            self.load()
        self.begin = self.saved = time.monotonic()

    def load(self):
        state = torch.load(self.options.state, map_location=device(), weights_only=True)
        self.module.load_state_dict(state["module"])
        self.average.module.load_state_dict(state["average"])
        self.average.steps = self.step = state["step"]
        self.optimizer.load_state_dict(state["optimizer"])

    def save(self):
        state = {"module": self.module.state_dict(), "average": self.average.module.state_dict(),
                 "optimizer": self.optimizer.state_dict(), "step": self.step}
        torch.save(state, self.options.state + ".new")
        os.replace(self.options.state + ".new", self.options.state)
        self.saved = time.monotonic()

    def minutes(self):
        return (time.monotonic() - self.begin) / 60

    def is_over(self):
        return self.minutes() >= self.options.minutes

    def update(self, loss):
        """One step of the optimizer; the rate rises over the first steps."""
        warm = min(1.0, (self.step + 1) / 100)
        left = max(0.01, 1 - self.minutes() / self.options.minutes) if self.options.settle else 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * warm * left
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        self.optimizer.step()
        self.average.update(self.module)
        self.step += 1
        if time.monotonic() - self.saved > self.SAVE_SECONDS:
            self.save()
