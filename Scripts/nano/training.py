"""What both trainings share: the clock, the device, the optimizers, the running average of the weights, and saving."""

import argparse
import copy
import os
import time

import torch

SAVE_SECONDS = 180
WARM_STEPS = 50


def parser(description, state):
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--state", default=state, help=f"file of the training's state (default {state})")
    options.add_argument("--resume", action="store_true", help="go on from the state file")
    options.add_argument("--minutes", type=float, default=60, help="stop after this time (default 60)")
    options.add_argument("--batch", type=int, default=8, help="clips a step (default 8)")
    options.add_argument("--rate", type=float, default=1.0, help="factor of the learning rates (default 1)")
    options.add_argument("--settle", action="store_true", help="let the rates fall to nothing over this run")
    options.add_argument("--seed", type=int, default=0)
    return options


def device():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bfloat16():
    """Whether products of bf16 are fast here: on processors without units for them they take fifty times as long."""
    return device().type == "cuda" or torch.cpu._is_avx512_bf16_supported()


def autocast():
    return torch.autocast(device().type, torch.bfloat16, enabled=has_bfloat16())


def orthogonalized(matrix):
    """The nearest matrix with singular values near 1, by five Newton-Schulz iterations."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.bfloat16() if has_bfloat16() else matrix
    x = x / (x.norm() + 1e-7)
    is_tall = x.shape[0] > x.shape[1]
    x = x.T if is_tall else x
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if is_tall else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum whose update of every matrix is made orthogonal (Jordan et al., 2024); kernels count as matrices."""

    def __init__(self, parameters, lr, momentum=0.95):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["average"] = torch.zeros_like(weight)
                average = state["average"].lerp_(weight.grad, 1 - group["momentum"])
                change = orthogonalized(weight.grad.lerp(average, group["momentum"]).flatten(1))
                scale = max(1, change.shape[0] / change.shape[1]) ** 0.5
                weight.add_(change.view_as(weight), alpha=-group["lr"] * scale)


class Average:
    """A copy of the weights that follows them slowly; at first it follows faster."""

    def __init__(self, module, rate):
        self.module, self.rate, self.steps = copy.deepcopy(module).eval().requires_grad_(False), rate, 0

    @torch.no_grad()
    def update(self, module):
        self.steps += 1
        rate = min(self.rate, (1 + self.steps) / (10 + self.steps))
        for mine, theirs in zip(self.module.parameters(), module.parameters()):
            mine.lerp_(theirs, 1 - rate)


class Training:
    """A module, its average and its optimizers, saved every few minutes and at the end.

    The matrices of the blocks are trained by Muon, everything else by Adam.
    """

    def __init__(self, module, options, matrix_rate, rate, keep=0.998):
        self.options, self.step = options, 0
        self.module = module.to(device())
        self.average = Average(self.module, keep)
        named = [(name, weight) for name, weight in self.module.named_parameters() if weight.requires_grad]
        matrices = [weight for name, weight in named if "block" in name and weight.dim() > 1]
        others = [weight for name, weight in named if not ("block" in name and weight.dim() > 1)]
        self.rates = matrix_rate * options.rate, rate * options.rate
        self.optimizers = (Muon(matrices, self.rates[0]),
                           torch.optim.AdamW(others, self.rates[1], betas=(0.9, 0.98), weight_decay=0))
        if options.resume:
            self.load()
        self.begin = self.saved = time.monotonic()

    def load(self):
        state = torch.load(self.options.state, map_location=device(), weights_only=True)
        self.module.load_state_dict(state["module"])
        self.average.module.load_state_dict(state["average"])
        self.average.steps = self.step = state["step"]
        for optimizer, values in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(values)

    def save(self):
        state = {"module": self.module.state_dict(), "average": self.average.module.state_dict(),
                 "optimizers": [optimizer.state_dict() for optimizer in self.optimizers], "step": self.step}
        torch.save(state, self.options.state + ".new")
        os.replace(self.options.state + ".new", self.options.state)
        self.saved = time.monotonic()

    def minutes(self):
        return (time.monotonic() - self.begin) / 60

    def is_over(self):
        return self.minutes() >= self.options.minutes

    def update(self, loss):
        """One step of the optimizers; the rates rise over the first steps."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), 1.0)
        factor = min(1.0, (self.step + 1) / WARM_STEPS)
        if self.options.settle:
            factor *= max(0.01, 1 - self.minutes() / self.options.minutes)
        for optimizer, rate in zip(self.optimizers, self.rates):
            for group in optimizer.param_groups:
                group["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.average.update(self.module)
        self.step += 1
        if time.monotonic() - self.saved > SAVE_SECONDS:
            self.save()
