"""The learned control embeddings: one set for every camera move and motion strength, and one for no control."""

import torch
from torch import nn

from clips import CAMERAS, MOTIONS

AUTO_CAMERA, AUTO_MOTION = "right", 2
SETS = [(camera, motion) for camera in CAMERAS for motion in MOTIONS]
NONE = len(SETS)  # the index of the negative set


class Controls(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.first = nn.Parameter(torch.randn(NONE + 1, config["text_len"], config["cross_attention_dim"]))
        self.second = nn.Parameter(torch.randn(NONE + 1, config["text_len_t5"], config["cross_attention_dim_t5"]))

    def forward(self, indices):
        """Both streams for a batch of sets, and their masks: every token is real."""
        first, second = self.first[indices], self.second[indices]
        return first, second, torch.ones_like(first[..., 0]), torch.ones_like(second[..., 0])

    def published_state(self):
        """embeddings.safetensors; `auto` stands for a fixed move and a fixed strength."""
        state = {}
        for camera in CAMERAS + ("auto",):
            for motion in (0,) + MOTIONS:
                chosen = (AUTO_CAMERA if camera == "auto" else camera, motion or AUTO_MOTION)
                self.add(state, f"p.16x9movie{motion}{camera}", SETS.index(chosen))
        self.add(state, "p.default", SETS.index((AUTO_CAMERA, AUTO_MOTION)))
        self.add(state, "n.default", NONE)
        return state

    @torch.no_grad()
    def begin_with(self, state):
        """Takes the sets of a published model's embeddings.safetensors."""
        names = [f"p.16x9movie{motion}{camera}" for camera, motion in SETS] + ["n.default"]
        for part, mine in (("emb1", self.first), ("emb2", self.second)):
            mine.copy_(torch.cat([state[f"{name}.{part}"] for name in names]))

    def add(self, state, name, index):
        names = ("emb1", "emb2", "mask1", "mask2")
        for part, value in zip(names, self(torch.tensor([index], device=self.first.device))):
            state[f"{name}.{part}"] = value.long() if part.startswith("mask") else value
