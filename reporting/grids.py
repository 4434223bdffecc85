"""Pictures that are grids of fields: of a figure each, or of an example each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from reporting.charts import Draw
from reporting.style import LABEL_SIZE, TITLE_SIZE


def heat_map(values: pd.DataFrame, across: str, down: str) -> Draw:
    """The mean AUC in every field, bold where row and column have one name. across, down: what the names are of."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        array = values.to_numpy(dtype=float)
        top = max(0.6, float(np.nanmax(array)))
        image = axes.imshow(np.ma.masked_invalid(array), cmap="cividis", vmin=0.45, vmax=top, aspect="auto")
        for (i, j), value in np.ndenumerate(array):
            text = "-" if np.isnan(value) else f"{value:.3f}"
            bright = not np.isnan(value) and (value - 0.45) / (top - 0.45) > 0.55
            weight = "bold" if values.index[i] == values.columns[j] else "normal"
            axes.text(j, i, text, ha="center", va="center", color="black" if bright else "white", fontweight=weight)
        axes.set_xticks(range(len(values.columns)), list(values.columns), rotation=35, ha="right")
        axes.set_yticks(range(len(values.index)), list(values.index))
        axes.set_xlabel(across)
        axes.set_ylabel(down)
        axes.grid(visible=False)
        # fixed ticks: those that matplotlib chooses can change, and with them their width, once the rest has its place
        ticks = np.arange(0.5, top, 0.05 if top < 0.8 else 0.1)
        figure.colorbar(image, ax=axes, label="AUC", shrink=0.85, ticks=ticks, format="%.2f")

    return draw


def exposed_pictures(pictures: Mapping[str, npt.NDArray[np.uint8]], titles: Mapping[str, Sequence[str]]) -> Draw:
    """The most exposed examples, a row per cell, the most exposed first; above each picture its class and index."""
    columns = max(len(rows) for rows in pictures.values())

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(pictures), columns, squeeze=False)
        for axes in grid.ravel():
            axes.axis("off")
        for line, (label, rows) in zip(grid, pictures.items(), strict=True):
            line[0].text(
                -0.15, 0.5, label, transform=line[0].transAxes, ha="right", va="center", fontsize=LABEL_SIZE, rotation=0
            )
            for axes, picture, title in zip(line, rows, titles[label], strict=False):
                axes.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                axes.set_title(title, fontsize=TITLE_SIZE, pad=1.5, linespacing=0.95)

    return draw
