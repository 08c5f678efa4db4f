"""worldmodel: from observed camera frames to future frames.

Nothing heavy is imported here, so that `worldmodel --help` answers at once; import the rooms by name::

    from worldmodel.models.pipeline import FlowFramesPipeline
    from worldmodel.datasets.nuscenes import open_index
"""

__version__ = "0.1.0"
