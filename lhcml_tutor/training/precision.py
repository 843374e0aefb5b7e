"""Mixed precision: matrix products in 16 bits on a GPU that is faster so, everything else in float32."""

import contextlib
import warnings

import torch

CHOICES = (False, True, "bfloat16", "float16")


class Precision:
    """How numbers are held in the forward pass, and what that asks of the backward pass.

    bfloat16 has the range of float32; float16 has not, so the loss is scaled up before and the gradient down after
    the backward pass, and a step whose gradient overflowed is left out.

    Arguments:
        mixed: False (float32, or what the model has); True (bfloat16 where the GPU has it, else float16); or a name.
        device: anything but CUDA is not sped up: a warning, and no mixed precision.
    Attributes:
        name: "full", "bfloat16" or "float16".
    """

    def __init__(self, mixed, device):
        if mixed not in CHOICES:
            raise ValueError(f"mixed_precision must be False, True, 'bfloat16' or 'float16', not {mixed!r}")
        if mixed and device.type != "cuda":
            warnings.warn(f"mixed precision is for CUDA; on {device.type} fit goes on in full precision", stacklevel=3)
            mixed = False
        if mixed is True:
            mixed = "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
        self.set(mixed or "full", device.type)

    def set(self, name, device_type):
        self.name, self.device_type = name, device_type
        self.dtype = None if name == "full" else getattr(torch, name)
        self.scaler = torch.amp.GradScaler(device_type) if name == "float16" else None

    def forward(self):
        """Return the context in which the loss is computed."""
        if self.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device_type, self.dtype)

    def step(self, total, optimizer, clip):
        """Move the parameters along the gradient of total; return its norm before clipping, None without clip."""
        (self.scaler.scale(total) if self.scaler else total).backward()
        norm = None
        if clip is not None:
            if self.scaler:
                self.scaler.unscale_(optimizer)
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            norm = torch.nn.utils.clip_grad_norm_(weights, clip)
        if self.scaler:
            self.scaler.step(optimizer)
            self.scaler.update()
            return None  # overflows belong to float16, and the scaler leaves their steps out
        optimizer.step()
        return norm

    def state_dict(self):
        return self.scaler.state_dict() if self.scaler else {}

    def load_state_dict(self, state):
        if self.scaler:
            self.scaler.load_state_dict(state)
