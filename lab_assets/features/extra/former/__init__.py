"""Former computations of features, one file each, for models in service that were made with them.

Belongs here: the file of a feature as it was before its computation changed, or before the feature went, named after feature and version
(``largest_point_v1.py``); for a feature of a module beside ``extra`` a file that computes what it was. Does not belong
here: features of today (``lab_assets.features.extra``). A file goes when no model that may serve uses it any more.

What ``value`` is given is said in ``lab_assets.features.extra``. Values are kept in a further column of the table's rows
(``largest_point_v1``); those of ``context`` are worked out when a row is put together for a model that uses them, from that model's inputs.
"""
