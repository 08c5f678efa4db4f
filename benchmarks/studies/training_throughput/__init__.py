"""How fast a training step runs at real size, beside a matrix product and beside plain diffusers on the same device.

    python -m worldmodel.benchmarks.studies.training_throughput --size 2b|1.3b|tiny [--seconds 20] [--keep]

The published network (LTX-Video 2B: 17 frames of 256 x 384, 288 tokens; Wan 2.1 1.3B: 240 x 416, 1950 tokens) with
random weights in float32, under bf16 autocast, through the FlowFrames objective (Algorithm 1, latents from the host in
every step), clipping and AdamW; blocks compiled and not, gradient checkpointing off and on. The batch is doubled until
memory runs out. Beside it diffusers' own transformer alone: forward and backward, no optimiser.

FLOP of a step = 3 x batch x forward; forward = sum over linear layers of 2 x inputs x outputs x rows, plus attention's
4 x queries x keys x width a layer. What checkpointing computes again and the optimiser are not counted. torch's own
counter checks the sum. The ceiling is the best bf16 matrix product measured in the same run: a large square, and the
network's own linear layers at the batch's number of rows, each weighted by its FLOP.
"""
