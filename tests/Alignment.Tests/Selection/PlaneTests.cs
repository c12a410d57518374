using XDeepServe.Alignment.Selection;

namespace XDeepServe.Alignment.Tests.Selection;

public sealed class PlaneTests
{
    [Fact]
    public void The_plane_is_the_one_that_the_vectors_were_drawn_in()
    {
        // Two orthogonal directions in seven dimensions, with deviations 5 and 2, far from the origin, and a little noise.
        Random random = new(4);
        float[] first = [.. new[] { 1, 2, 0, -1, 0, 3, 1.0 }.Select(value => (float)(value / 4))], second = [0, 0, 1, 0, 0, 0, 0];
        double[][] places = [.. Enumerable.Range(0, 400).Select(_ => new[] { 5 * Normal(), 2 * Normal() })];
        float[][] vectors = [.. places.Select(place => Enumerable.Range(0, 7).Select(i => (float)(100 + place[0] * first[i] + place[1] * second[i] + 0.01 * Normal())).ToArray())];
        PrincipalPlane plane = PrincipalPlane.Of(vectors);
        double[] means = [places.Average(place => place[0]), places.Average(place => place[1])];
        for (int row = 0; row < vectors.Length; row++)
            for (int axis = 0; axis < 2; axis++)
                Assert.Equal(places[row][axis] - means[axis], plane.Points[row][axis], 1.0); // directions of a sample differ a little
        Assert.InRange(plane.Shares.Sum(), 0.999, 1.0001);
        Assert.True(plane.Shares[0] > 3 * plane.Shares[1]);
        Assert.Equal(0, plane.Points.Average(point => point[0] * point[1]), 6);

        double Normal() => Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble());
    }

    [Fact]
    public void Vectors_on_a_line_or_all_equal_have_a_plane_too()
    {
        PrincipalPlane line = PrincipalPlane.Of([[1, 0], [2, 0], [4, 0]]);
        Assert.Equal([1.0, 0.0], line.Shares);
        Assert.All(PrincipalPlane.Of([[1, 2], [1, 2]]).Points, point => Assert.Equal([0.0, 0.0], point));
    }

    [Fact]
    public void Neighbours_are_counted_by_set()
    {
        float[][] vectors = [[1, 0], [2, 0.1f], [0, 1], [0.1f, 5], [1, 0.95f]];
        double[,] shares = Neighbours.Shares(vectors, [0, 0, 1, 1, 1], 3, TestContext.Current.CancellationToken);
        Assert.Equal([1, 0, 0], Row(0));
        Assert.Equal([1 / 3.0, 2 / 3.0, 0.0], Row(1), (one, other) => Math.Abs(one - other) < 1e-9); // the last one is nearest to the second
        Assert.Equal([0, 0, 0], Row(2));

        double[] Row(int set) => [.. Enumerable.Range(0, 3).Select(other => shares[set, other])];
    }
}
