"""Iris from end to end: how many kinds, what they are like, which flowers are in doubt, and are the kinds normal?"""

import pandas as pd

import gibbs_gmm as gg

iris = pd.read_csv("data/iris.csv")
X = iris.drop(columns="species")
trace = gg.fit(X, rng=1, progress=False)

print(trace.headline)
partition = trace.partition()
print(pd.crosstab(iris["species"], partition.labels, colnames=["cluster"]))
print("in doubt:", (partition.uncertainty >= 0.1).sum(), "of", len(X))
summary = trace.summary()
for k in partition.numbers:
    row = summary[f"mean[{k}, petal_length]"]
    print(f"petal length of cluster {k}: {row['mean']:.1f} cm (90%: {row['q05']:.1f} to {row['q95']:.1f})")
print(trace.check(X).messages or "nothing speaks against normal clusters")
new = pd.DataFrame([[6.0, 3.0, 4.8, 1.8]], columns=X.columns)
print("a new flower:", trace.predict_proba(new).round(1))
