namespace XDeepServe.Alignment.Selection;

/// <summary>
/// The transport problem solved exactly by shortest augmenting paths with potentials (Dijkstra on the dense graph): a reference for
/// small problems, at about (n + m)³ steps.
/// </summary>
public static class ExactTransport
{
    /// <summary>Cheapest plan between uniform measures.</summary>
    /// <param name="costs"><c>[rows, columns]</c>, not negative.</param>
    /// <param name="rows">n.</param>
    /// <param name="columns">m.</param>
    /// <returns>γ <c>[rows, columns]</c>: rows sum to 1/n, columns to 1/m.</returns>
    public static double[,] Uniform(float[] costs, int rows, int columns)
    {
        long divisor = (long)System.Numerics.BigInteger.GreatestCommonDivisor(rows, columns);
        long[,] flow = Solve(costs, [.. Enumerable.Repeat(columns / divisor, rows)], [.. Enumerable.Repeat(rows / divisor, columns)]);
        double total = (double)rows * columns / divisor;
        double[,] plan = new double[rows, columns];
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++)
                plan[i, j] = flow[i, j] / total;
        return plan;
    }

    /// <summary>Cheapest flow.</summary>
    /// <param name="costs"><c>[supply, demand]</c>, not negative.</param>
    /// <param name="supply">Units at each source.</param>
    /// <param name="demand">Units at each sink; as many in all.</param>
    /// <exception cref="ArgumentException">Supply and demand differ.</exception>
    public static long[,] Solve(float[] costs, long[] supply, long[] demand)
    {
        int n = supply.Length, m = demand.Length;
        if (supply.Sum() != demand.Sum() || costs.Length != n * m)
            throw new ArgumentException("Supply and demand must be equal in all, with a cost for each pair.");
        long[,] flow = new long[n, m];
        long[] left = [.. supply], missing = [.. demand];
        double[] potential = new double[n + m]; // reduced costs stay at 0 or more
        double[] distance = new double[n + m];
        int[] parent = new int[n + m];
        bool[] done = new bool[n + m];
        for (int source = 0; source < n; source++)
            while (left[source] > 0)
            {
                int sink = Reach(source);
                long amount = Math.Min(left[source], missing[sink - n]);
                for (int node = sink; node != source; node = parent[node])
                    if (node < n)
                        amount = Math.Min(amount, flow[node, parent[node] - n]);
                for (int node = sink; node != source; node = parent[node])
                    if (node < n)
                        flow[node, parent[node] - n] -= amount;
                    else
                        flow[parent[node], node - n] += amount;
                left[source] -= amount;
                missing[sink - n] -= amount;
            }
        return flow;

        // The nearest sink that misses something; potentials move along.
        int Reach(int source)
        {
            Array.Fill(distance, double.PositiveInfinity);
            Array.Clear(done);
            distance[source] = 0;
            while (true)
            {
                int node = -1;
                for (int one = 0; one < n + m; one++)
                    if (!done[one] && (node < 0 || distance[one] < distance[node]))
                        node = one;
                done[node] = true;
                if (node >= n && missing[node - n] > 0)
                {
                    for (int one = 0; one < n + m; one++)
                        potential[one] += Math.Min(distance[one], distance[node]);
                    return node;
                }
                for (int next = node < n ? n : 0; next < (node < n ? n + m : n); next++)
                {
                    if (done[next] || (node >= n && flow[next, node - n] == 0))
                        continue;
                    double cost = node < n ? costs[(node * m) + next - n] : -costs[(next * m) + node - n];
                    double through = distance[node] + Math.Max(0, cost + potential[node] - potential[next]);
                    if (through < distance[next])
                        (distance[next], parent[next]) = (through, node);
                }
            }
        }
    }
}
