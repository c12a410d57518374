using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Orleans.Runtime;

namespace XDeepServe.Server.Control;

/// <summary>
/// The name of one life of a Task Executor: the beginning of its worker's name, and its silo's address, so that its grain can be
/// placed where it is. At most 28 letters, digits and underscores: two of them name shared memory.
/// </summary>
internal static class ExecutorId
{
    private const int AddressDigits = 20; // 8 of the IPv4 address, 4 of the port, 8 of the generation
    private const int NameLetters = 7;

    /// <summary>Makes the name.</summary>
    /// <exception cref="ArgumentException">The silo has no IPv4 address.</exception>
    public static string Of(string worker, SiloAddress silo)
    {
        if (silo.Endpoint.AddressFamily != AddressFamily.InterNetwork)
        {
            throw new ArgumentException($"Workers reach each other over IPv4; {silo.Endpoint.Address} is no such address (--advertise).");
        }
        string name = string.Concat(worker.Take(NameLetters).Select(letter => char.IsAsciiLetterOrDigit(letter) ? letter : '_'));
        uint address = BinaryPrimitives.ReadUInt32BigEndian(silo.Endpoint.Address.GetAddressBytes());
        return string.Create(CultureInfo.InvariantCulture, $"{name}_{address:x8}{silo.Endpoint.Port:x4}{silo.Generation:x8}");
    }

    /// <summary>The silo that a name holds.</summary>
    /// <exception cref="ArgumentException">It holds none.</exception>
    public static SiloAddress SiloOf(string id)
    {
        ReadOnlySpan<char> digits = id.Length > AddressDigits ? id.AsSpan(id.Length - AddressDigits) : [];
        byte[] address = new byte[sizeof(uint)];
        if (digits.IsEmpty
            || !uint.TryParse(digits[..8], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint number)
            || !ushort.TryParse(digits[8..12], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ushort port)
            || !int.TryParse(digits[12..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int generation))
        {
            throw new ArgumentException($"'{id}' names no Task Executor.", nameof(id));
        }
        BinaryPrimitives.WriteUInt32BigEndian(address, number);
        return SiloAddress.New(new IPEndPoint(new IPAddress(address), port), generation);
    }
}
