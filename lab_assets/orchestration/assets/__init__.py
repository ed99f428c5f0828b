"""The asset graph: read, call, write, report. One file a layer, in flow order."""
