"""ANDI files with packed values."""

from __future__ import annotations

import numpy as np


def packed(*, record: bool = False, mass: bool = False, **attributes: object) -> bytes:
    import io

    from scipy.io import netcdf_file

    buffer = io.BytesIO()
    dataset = netcdf_file(buffer, "w")
    dataset.aia_template_revision = b"1.0"
    dataset.retention_unit = b"seconds"
    dataset.createDimension("point_number", None if record else 3)
    name = "mass_values" if mass else "ordinate_values"
    ordinates = dataset.createVariable(name, "i", ("point_number",))
    ordinates[:] = np.array([10, 20, -30], "i")
    for key, value in attributes.items():
        setattr(ordinates, key, value)
    dataset.createDimension("one", 1)  # scipy writes a scalar over the records
    dataset.createVariable("actual_sampling_interval", "d", ("one",))[:] = 0.5
    dataset.flush()
    return buffer.getvalue()
