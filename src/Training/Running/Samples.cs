using System.Text.Json;
using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Evaluation;
using XDeepServe.Alignment.Prompts;
using XDeepServe.Alignment.Ranking;

namespace XDeepServe.Training.Running;

/// <summary>
/// Best-of-n over a file of questions with drawn answers: <c>prompt</c>, <c>responses</c>, and lists of numbers about each response, such as
/// <c>scores</c> or <c>hallucination</c>. What the model picks is told in the file's own numbers.
/// </summary>
public sealed class Samples
{
    private const int Resamples = 2000;
    private readonly List<Question> questions;

    private Samples(List<Question> questions) => this.questions = questions;

    /// <summary>Reads a file of questions.</summary>
    /// <exception cref="DataException">A question has fewer than two answers, or a list of another length.</exception>
    public static Samples Read(string path)
    {
        List<Question> questions = [];
        foreach (Row row in DataFile.Read(path))
        {
            IReadOnlyList<string> responses = row.Texts("responses");
            if (responses.Count < 2)
                throw row.Wrong("responses", "must hold at least two");
            Dictionary<string, IReadOnlyList<double>> merits = [];
            foreach (string name in row.Names.Where(name => row.Required(name) is { ValueKind: JsonValueKind.Array } list && list.EnumerateArray().All(item => item.ValueKind == JsonValueKind.Number)))
                merits[name] = row.Numbers(name) is var values && values.Count == responses.Count ? values : throw row.Wrong(name, $"holds {values.Count} numbers for {responses.Count} responses");
            questions.Add(new Question(row.WithImages(row.Messages("prompt"), path), responses, merits));
        }
        return questions.Exists(question => question.Merits.Count > 0) ? new Samples(questions) : throw new DataException($"{path} holds no question with numbers about its responses.");
    }

    /// <summary>For each question pairs that hold all of its answers.</summary>
    public IEnumerable<PreferencePair> Pairs => questions.SelectMany(question => Enumerable.Range(1, question.Responses.Count - 1).Select(place => question.Pair(place, 0)));

    /// <summary>Picks the best answer to each question in a knock-out, all questions at once. Of equals, and of two that do not fit, the earlier one goes on.</summary>
    /// <param name="judge">Compares answers.</param>
    public SampleReport Pick(Judge judge)
    {
        IReadOnlyList<int>[] left = [.. questions.Select(question => Enumerable.Range(0, question.Responses.Count).ToArray())];
        HashSet<int> tooLong = [];
        while (left.Any(places => places.Count > 1))
        {
            IReadOnlyList<(int First, int Second)>[] meetings = [.. left.Select(places => Rankings.Meetings(Tournament.KnockOut, places))];
            Queue<Verdict> verdicts = new(judge.Run([.. questions.Zip(meetings).SelectMany(met => met.Second.Select(pair => met.First.Pair(pair.First, pair.Second)))]));
            for (int question = 0; question < left.Length; question++)
            {
                Verdict[] own = [.. meetings[question].Select(_ => verdicts.Dequeue())];
                if (own.Any(verdict => verdict.ChosenIsBetter is null))
                    tooLong.Add(question);
                left[question] = Rankings.Winners(left[question], meetings[question], own.Select(verdict => verdict.ChosenIsBetter ?? 0.5));
            }
        }
        return new SampleReport(questions.Count, tooLong.Count, questions.SelectMany(question => question.Merits.Keys).Distinct().ToDictionary(name => name, Sum));

        Merit Sum(string name)
        {
            (string Cluster, IReadOnlyList<double> Values, int Picked, int Longest)[] told = [.. questions.Select((question, index) => (question, index)).Where(item => item.question.Merits.ContainsKey(name))
                .Select(item => (PreferencePair.ClusterOf(item.question.Prompt), item.question.Merits[name], left[item.index][0], item.question.Longest))];
            double[] means = [.. told.GroupBy(one => one.Cluster).Select(prompt => prompt.Average(one => one.Values[one.Picked]))];
            Score interval = Score.OfMeans(means, Resamples);
            return new Merit(told.Average(one => one.Values.Average()), told.Average(one => one.Values[one.Picked]), interval.Low, interval.High, told.Average(one => one.Values[one.Longest]), told.Average(one => one.Values.Max()));
        }
    }

    private sealed record Question(IReadOnlyList<Message> Prompt, IReadOnlyList<string> Responses, IReadOnlyDictionary<string, IReadOnlyList<double>> Merits)
    {
        public int Longest { get; } = Enumerable.Range(0, Responses.Count).MaxBy(place => Responses[place].Length);

        public PreferencePair Pair(int first, int second) => new() { Prompt = Prompt, Chosen = Responses[first], Rejected = Responses[second] };
    }
}

/// <summary>What came of best-of-n.</summary>
/// <param name="Questions">How many.</param>
/// <param name="TooLong">Questions with an answer that did not fit beside another.</param>
/// <param name="Merits">For each list of numbers in the file what it says.</param>
public sealed record SampleReport(int Questions, int TooLong, IReadOnlyDictionary<string, Merit> Merits);

/// <summary>Means over questions of one number about answers.</summary>
/// <param name="All">Over all answers: what an answer by lot gets.</param>
/// <param name="Picked">Over those picked.</param>
/// <param name="Low">Lower end of its 95 % interval, over prompts.</param>
/// <param name="High">Upper end.</param>
/// <param name="Longest">Over the longest answers.</param>
/// <param name="Highest">Over each question's highest number: what a perfect model picks where more is better.</param>
public sealed record Merit(double All, double Picked, double Low, double High, double Longest, double Highest);
