# %% [markdown]
# # From a search to a prediction
#
# A search on scikit-learn's digits that takes seconds: enough to see every step, too small to find
# anything. Cells begin with `# %%`, so editors and Jupyter (through jupytext) open this file as a
# notebook; `python docs/notebook.py` runs it as it is. It writes to `runs/` where it is started.

# %%
import torch

import autosd

# %% [markdown]
# ## Search
#
# The same call again goes on with the study, or returns at once where it is complete. Without
# `engine="inline"` trials run side by side in Ray's workers; for so few seconds of training,
# starting those takes longer than the search.

# %%
study = autosd.search(
    name="notebook",
    data="digits",
    model="resnet8",
    space="label_smoothing",
    epochs=2,
    trials=4,
    settings={"batch_size": 64, "finalists.count": 1, "finalists.seeds": 2},
    engine="inline",
    watch=print,
)
print(study)

# %% [markdown]
# ## Trials and curves
#
# `docs/python.md` explains the columns.

# %%
trials = study.trials()
print(trials[["number", "state", "family", "value", "label_smoothing.smoothing"]])
trials.to_csv("trials.csv", index=False)

# %%
curves = study.curves()
print(curves.pivot(index="epoch", columns="trial", values="val_top1"))

# %%
print(study.leaderboard())
print(study.finalists()[["recipe", "mean", "sd", "n", "difference", "low", "high", "verdict"]])

# %% [markdown]
# ## Figures
#
# Those of `autosd report`, as plotly figures: in a notebook, the name of one shows it.

# %%
figures = study.figures()
print(sorted(figures))
figures["best_by_trials"].write_html("best_by_trials.html")

# %% [markdown]
# ## The best recipe and its student
#
# The score is that of fresh seeds on `select`, which the search had never seen.

# %%
best = study.best()
print(best.line)
student = best.load()
print(type(student).__name__, "with", len(student.class_names), "classes, from", best.model_dir)

# %%
held_back = autosd.load_data(best.recipe.data).part("select")
images, labels = held_back.images[:8], held_back.labels[:8]
with torch.inference_mode():
    probabilities = student(student.preprocess.batch(images)).softmax(dim=1)
for row, label in zip(probabilities, labels, strict=True):
    named = student.class_names[row.argmax()]
    print(f"{named} with {row.max():.0%}, is {student.class_names[label]}")

# %% [markdown]
# ## The recipe once more
#
# What `autosd train` does, from a recipe, a mapping or a file; resumable by the same call.

# %%
trained = autosd.train(best.recipe, "runs/again", threads=1)
print(f"val: {trained.metrics['val']['top1']:.1%} after {trained.epochs} epochs")
