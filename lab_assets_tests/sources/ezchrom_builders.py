"""EZChrom's ASCII exports."""

from __future__ import annotations

LINES = (
    "Version:\t3",
    "Maxchannels:\t2",
    "Sample ID:\tNi5, run: 2",
    "Data File:\tz:\\results\\tom\\2023-06-29-007.dat",
    "Method:\tZ:\\methods\\polyarc+TCD.met",
    "User Name:\tSystem",
    "Acquisition Date and Time:\t6/29/2023 4:07:41 PM",
    "Sampling Rate:\t10.000000\t5.000000\tHz",
    "Total Data Points:\t4\t3\tPts.",
    "X Axis Title:\tMinutes\tSeconds",
    "Y Axis Title:\tpA\t25 µV",
    "X Axis Multiplier:\t0.016667\t1.0",
    "Y Axis Multiplier:\t0.000130208\t0.5",
)
VALUES = ("17416", "17502", "-17511", "17457", "100", "200", "300")


def export(*changes: tuple[str, str], end: str = "\r\n", separator: str = "\t") -> str:
    text = "\n".join((*LINES, *VALUES, ""))
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text.replace("\t", separator).replace("\n", end)
