"""From the demo film to a table and a plot, cell by cell: open it in an editor that knows `# %%`, or just run it.

Needs the extra `demo`, which makes the film. Writes into the current folder; about a minute on two cores.
"""

# %% A film of 3.5 seconds, and its Hindi and Tamil dubs
import matplotlib

matplotlib.use("Agg")  # into a file; leave this line out in a notebook
import matplotlib.pyplot as plt

import dubbing
from dubbing.demo import SHORT, make_demo

manifest = make_demo("demo-film", scenes=SHORT, size=(480, 270), quiet=True)

# %% What a run will need, and what it would refuse
found = dubbing.check(manifest, "demo-out")
print([f"{t.id}: {t.frames} frames, {len(t.dubs)} dubs" for t in found.titles], found.problems)

# %% Do it. Done already? Then this costs nothing.
report = dubbing.run(manifest, "demo-out", engine="local")
print(report.exit_code, dict(report.counts))

# %% Every shot of every dub, as a table
results = dubbing.open_results("demo-out")
for dub in results.dubs:
    print(dub.language, dub.master)
    print(dub.shots.select(["shot", "start_tc", "status", "reason", "lse_d", "source_lse_d"]).to_pylist())

# %% The same numbers for a film that anybody made
scores = dubbing.score("demo-film/film.mp4")
print(scores.model, scores.table.num_rows, "faces")

# %% Plot: how far sound and lips are apart, over the shift between them
figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
for row in scores.rows:
    if row["distance"] is not None:
        axes.plot([shift / 25 for shift in range(-15, 16)], row["distance"], label=f"{row['track']} (original)")
axes.set(xlabel="shift of the sound, s", ylabel="LSE distance")
axes.legend()
figure.savefig("demo.png")
plt.close(figure)
