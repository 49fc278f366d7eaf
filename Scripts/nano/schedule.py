"""The noise schedule of the family: scaled-linear betas, v-prediction, DDIM steps."""

import torch

TIMESTEPS = 1000
BETAS = (0.00085, 0.03)


class Schedule:
    def __init__(self, device="cpu"):
        roots = torch.linspace(BETAS[0] ** 0.5, BETAS[1] ** 0.5, TIMESTEPS)
        self.alphas = torch.cumprod(1 - roots**2, 0).to(device)

    def mix(self, latents, noise, time):
        """Noisy latents and the velocity to predict; time is one integer an item."""
        a = self.alphas[time][:, None, None, None, None]
        return a.sqrt() * latents + (1 - a).sqrt() * noise, a.sqrt() * noise - (1 - a).sqrt() * latents

    def timesteps(self, steps):
        stride = TIMESTEPS // steps
        return [(steps - 1 - i) * stride + 1 for i in range(steps)]

    def ddim_step(self, velocity, time, steps, latents):
        a, previous = self.alphas[time], time - TIMESTEPS // steps
        b = self.alphas[max(previous, 0)]
        clean = a.sqrt() * latents - (1 - a).sqrt() * velocity
        noise = a.sqrt() * velocity + (1 - a).sqrt() * latents
        return b.sqrt() * clean + (1 - b).sqrt() * noise
