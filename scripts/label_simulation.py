"""How many labels src.label_next saves on the digits: its choice against a random one, round by round.

    python -m scripts.label_simulation [--seeds 10] [--start 50] [--count 50] [--rounds 6] [--copies 0]

A pool of 1,197 digits and 600 for the test are drawn anew for each seed; what they show is told only of those that are
chosen. The network is frozen, and its head a softmax regression on its features, trained to the end in each round:
that takes milliseconds. --copies=6 puts a quarter of the pool in seven times, as the frames of a video might be.
"""

import argparse

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from src.data.formats.digit_images import DIGITS_FILE, read_digit
from src.data.transforms import evaluation_transform
from src.evaluation.label_choice import chosen, number_looked_at
from src.models.classifier import pooled
from src.models.weights import load_pretrained
