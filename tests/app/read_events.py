"""Prints what TensorBoard reads in a run folder: {"scalars": {tag: [[step, value]]}, "images": {tag: [[step, width, height,
bytes]]}}. Whatever TensorBoard finds wrong with the files fails."""

import json
import logging
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


class Complaints(logging.Handler):
    def emit(self, record):
        if "purging" not in record.getMessage().lower():  # told, not wrong, where a run was resumed
            sys.exit(f"TensorBoard: {record.getMessage()}")


logging.getLogger("tensorboard").addHandler(Complaints(level=logging.WARNING))
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0}).Reload()
tags = events.Tags()
print(json.dumps({
    "scalars": {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in tags["scalars"]},
    "images": {tag: [[e.step, e.width, e.height, len(e.encoded_image_string)] for e in events.Images(tag)]
               for tag in tags["images"]},
}))
