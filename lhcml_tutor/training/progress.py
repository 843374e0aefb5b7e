"""A progress bar with the time left: in terminals and notebooks, never in log files."""

import sys
import time

from tqdm import tqdm

INTERVAL = 0.5  # seconds between two updates, so that a fast loop does not pay for its bar


class Progress:
    """The bar of one training and the line at its end."""

    def __init__(self, label, steps, show=True):
        self.show = show
        visible = show and (sys.stderr.isatty() or "ipykernel" in sys.modules)
        self.bar = tqdm(total=steps, desc=label, unit="step", leave=False, disable=not visible, mininterval=0)
        self.next = time.perf_counter() + INTERVAL

    def start(self, step):
        """Say where a resumed training begins, so that the time left is that of the steps to do."""
        if step:
            self.bar.initial = self.bar.n = step
            self.bar.refresh()

    def update(self, step, text):
        """Move the bar to this step unless it moved just now; text is a function, called only when it shows."""
        if self.bar.disable or time.perf_counter() < self.next:
            return
        self.bar.set_postfix_str(text(), refresh=False)
        self.bar.update(step - self.bar.n)
        self.next = time.perf_counter() + INTERVAL

    def say(self, text):
        """Print a line on top of the bar."""
        if self.show:
            tqdm.write(text, file=sys.stdout)

    def close(self):
        self.bar.close()
