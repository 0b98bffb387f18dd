"""The speech-driven temporal GAN: a still and a sound become a face that talks.

After Vougioukas, Petridis and Pantic, "End-to-End Speech-Driven Facial Animation with Temporal GANs" (2018), which
published no sizes of layers and no weights. What the paper leaves open is chosen here, and the code says where. The
parts: `inputs`, what the networks are given (numpy only); `nets`, the generator; `judges`, the two discriminators;
`losses`; `run`, the generator one frame after another. None knows a film, a face or a file.
"""
