"""Measures predictions with vot-toolkit, which runs in an environment of its own: prints a line of JSON.

python measure.py SEQUENCES PREDICTIONS
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest.mock import Mock

from vot.analysis.accuracy import AverageAccuracy, AverageSuccessPlot
from vot.analysis.longterm import AccuracyRobustness, AverageQualityAuxiliary
from vot.dataset.common import read_sequence
from vot.experiment.multirun import UnsupervisedExperiment
from vot.region import calculate_overlaps
from vot.region.io import read_trajectory
from vot.utilities.data import Grid


def main(sequences: Path, predictions: Path) -> None:
    names = (sequences / "list.txt").read_text().split()
    read = [read_sequence(str(sequences / name)) for name in names]

    def gather(tracker, sequence, objects=None, pad=False):
        name = sequence.name
        [object_id] = objects
        stem = f"{name}_001" if object_id == "object" else f"{name}_{object_id}_001"
        return [read_trajectory(str(predictions / name / f"{stem}.txt"))]

    experiment = Mock(spec=UnsupervisedExperiment)
    experiment.gather = gather

    def grid(analysis):
        cells = Grid(len(read), 1)
        for place, sequence in enumerate(read):
            cells[place, 0] = analysis.subcompute(experiment, None, sequence, [])
        return cells

    # As the stack of VOTS names them.
    quality = AverageAccuracy(burnin=0, ignore_unknown=False, weighted=False)
    plot = AverageSuccessPlot(burnin=0, ignore_unknown=False)
    auxiliary = AverageQualityAuxiliary()
    both = AccuracyRobustness()
    counts, accuracies = both.dependencies()
    turned = [Grid(1, len(read)), Grid(1, len(read))]
    for kept, cells in zip(turned, (grid(counts), grid(accuracies)), strict=True):
        for place in range(len(read)):
            kept[0, place] = cells[place, 0]
    accuracy, robustness, _ = both.compute(experiment, [None], read, turned)[0, 0]
    nre, dre, adq = auxiliary.aggregate(None, read, grid(auxiliary.analysis))
    measures = {
        "quality": quality.aggregate(None, read, grid(quality.analysis))[0],
        "accuracy": accuracy,
        "robustness": robustness,
        "NRE": nre,
        "DRE": dre,
        "ADQ": adq,
    }
    overlaps = {
        f"{sequence.name}/{object_id}": calculate_overlaps(
            gather(None, sequence, [object_id])[0], sequence.object(object_id), sequence.size
        )
        for sequence in read
        for object_id in sequence.objects()
    }
    curve = [y for _, y in plot.aggregate(None, read, grid(plot.analysis))[0]]
    print(json.dumps({"measures": measures, "curve": curve, "overlaps": overlaps}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
