"""SadTalker: a photograph and a sound become a head that talks.

After Zhang et al., "SadTalker: Learning Realistic 3D Motion Coefficients for Stylized Audio-Driven Single Image Talking
Face Animation" (2023), whose code and weights are published. The parts, each with keys and shapes as published:
`expression` (ExpNet: 64 expression coefficients from sound), `pose` (PoseVAE: six numbers of the head's pose from sound
and chance), `mapping` (MappingNet: coefficients become angles and shifts of keypoints), `keypoints` (15 points of a
picture in space), `motion` and `generator` (the renderer, after face-vid2vid), `coefficients` (a 3D face model's
coefficients of a picture); and, in NumPy, `windows` (sound, blinks, smoothing, what the renderer gets a frame),
`alignment` and `crop` (what each network sees of a picture). `run` is all of it prepared for inference. None knows a
film or a file.
"""
