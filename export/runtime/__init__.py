"""An exported model on a vehicle: numpy and a backend (ONNX Runtime or TensorRT), neither torch nor diffusers.

    from worldmodel.export.runtime.predictor import Predictor
    predictor = Predictor.open("artifact")
    future_BFHWC = predictor.predict(observed_BFHWC)

Nothing is imported here, so that a vehicle loads only what it uses.
"""
