"""The story that `deedbook demo` tells on real data: home prices in eight Texas cities.

    data.py       what each month's delivery of a city's history holds
    models.py     one month's retrain of one city
    texas.toml    the policy its trainings must pass
    folder.py     where the demo keeps its things, and what it may remove
    place.py      where its registry is: in the folder, or on Kafka
    judging.py    who judges its trainings: this process, or on Kafka those of `attended.py`
    stage.py      how the story is shown, on a terminal and without one
    instance.py   a serving instance, and the process it runs in

`story.py` tells the whole of it, with the chapters beside it.
"""
