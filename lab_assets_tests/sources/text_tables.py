"""Small tables as text files, which several tests read or spoil."""

from __future__ import annotations

LOTS = "lot_id,product,customer,batch_size_kg,recorded_at_utc\nL1,P1,Acme,120.5,2025-03-04T05:06:07Z\nL2,P1,,80,2025-03-05T00:00:00Z\n"
LINES = '"Compound"\t"Detector"\t"Slope"\t"Intercept"\t"Peak_start"\t"Peak_end"\n"Formate"\t"RID-10A"\t0.0729\t2.9054\t16.5\t17.5\n'
UTC_LOG = "# chamber: CH-1\nTimestamp (UTC),Temp (°C),RH [%],Set Temp (°C),Set RH [%],Door\n2025-03-01 00:00:00,25.1,60.2,25,60,closed\n"
LONG = '"Minutes"\t"Intensity"\t"File"\t"Detector"\n0.01\t-0.6\t"A1.lcd"\t"UV"\n0.02\t1.5\t"A1.lcd"\t"UV"\n0\t7\t"A1.lcd"\t"RID-10A"\n0.5\t8\t"A1.lcd"\t"RID-10A"\n'
