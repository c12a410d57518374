namespace XDeepServe.Alignment.Scenes;

/// <summary>Describes scenes as a model would that sometimes sees what is not there: something to draw samples from.</summary>
/// <param name="hallucination">Chance that a statement about an object is wrong, that an object is invented, and that the count is wrong.</param>
/// <param name="omission">Chance that an object is left out.</param>
public sealed class Captioner(double hallucination, double omission)
{
    /// <summary>One description.</summary>
    public string Describe(Scene scene, Random random)
    {
        List<SceneObject> told = [];
        foreach (SceneObject one in scene.Objects)
        {
            if (random.NextDouble() < omission)
                continue;
            told.Add(random.NextDouble() < hallucination ? one.Corrupt(random) : one);
        }
        if (random.NextDouble() < hallucination || told.Count == 0)
            told.Add(SceneObject.Draw(random, random.Next(SceneObject.Cells.Count)));
        SceneObject[] shuffled = [.. told];
        random.Shuffle(shuffled);
        int count = shuffled.Length;
        if (random.NextDouble() < hallucination)
            count += random.Next(2) == 0 && count > 1 ? -1 : 1;
        return new Caption(shuffled, count).Write(random.Next(3));
    }

    /// <summary>Two descriptions of which the first is better: it states less that is wrong or, at as much, covers more.</summary>
    public (string Chosen, string Rejected) Pair(Scene scene, Random random)
    {
        while (true)
        {
            string first = Describe(scene, random), second = Describe(scene, random);
            CaptionScore a = Caption.Read(first).Score(scene), b = Caption.Read(second).Score(scene);
            int order = (b.Hallucination, -b.Coverage).CompareTo((a.Hallucination, -a.Coverage));
            if (order != 0)
                return order > 0 ? (first, second) : (second, first);
        }
    }
}
