using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;

namespace XDeepServe.Xccl.Regions;

/// <summary>The names of regions below /dev/shm, and what becomes of those whose owners died.</summary>
internal static unsafe partial class RegionFiles
{
    private const string Folder = "/dev/shm";
    private const string Prefix = "xccl-";
    private const int Exists = 17; // EEXIST
    private const UnixFileMode OwnerAlone = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    public static string Path(string group, int rank)
    {
        if (!GroupName().IsMatch(group))
            throw new ArgumentException($"'{group}' is no name for a group: use 1 to 64 letters, digits and underscores.");
        return string.Create(CultureInfo.InvariantCulture, $"{Folder}/{Prefix}{group}-{rank}");
    }

    /// <summary>Where a region is made before it takes its rank's name. Carries the process id for <see cref="Sweep"/>.</summary>
    public static string DraftPath(string group, int rank) =>
        string.Create(CultureInfo.InvariantCulture, $"{Path(group, rank)}.{Environment.ProcessId}.{Guid.NewGuid():N}");

    public static FileStream OpenNew(string path, long bytes)
    {
        if (OperatingSystem.IsWindows())
            throw NoSharedMemory();
        FileStream stream = new(path, new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.ReadWrite,
            Share = FileShare.ReadWrite | FileShare.Delete,
            UnixCreateMode = OwnerAlone,
            BufferSize = 0,
        });
        stream.SetLength(bytes);
        return stream;
    }

    /// <returns>Null if there is no such file.</returns>
    /// <exception cref="IOException">Others than the owner may touch it: it was not made by this library.</exception>
    public static FileStream? TryOpen(string path)
    {
        if (OperatingSystem.IsWindows())
            throw NoSharedMemory();
        try
        {
            FileStream stream = new(path, new FileStreamOptions { Mode = FileMode.Open, Access = FileAccess.ReadWrite, Share = FileShare.ReadWrite | FileShare.Delete, BufferSize = 0 });
            if (File.GetUnixFileMode(stream.SafeFileHandle) == OwnerAlone)
                return stream;
            stream.Dispose();
            throw new IOException($"{path} is open to other accounts and was not made by this library: remove it.");
        }
        catch (FileNotFoundException)
        {
            return null;
        }
        catch (UnauthorizedAccessException)
        {
            throw new IOException($"{path} belongs to another account: choose another group name.");
        }
    }

    /// <summary>A sparse file that outgrows the memory would end the process in the middle of a copy; say so before.</summary>
    public static void CheckSpace(long bytes)
    {
        long free = new DriveInfo(Folder).AvailableFreeSpace;
        if (bytes > free)
            throw new IOException($"A region of {bytes >> 20} MiB does not fit into {Folder}, which has {free >> 20} MiB left: make it larger or the geometry smaller.");
    }

    /// <summary>Gives a finished draft its rank's name, unless a living process has it.</summary>
    public static void Claim(string draft, string path)
    {
        // Creating a second link is atomic and fails where the name exists, unlike a rename.
        while (Link(draft, path) != 0)
        {
            int error = Marshal.GetLastPInvokeError();
            if (error != Exists)
                throw new IOException($"{path} could not be made: {Marshal.GetPInvokeErrorMessage(error)}.");
            if (OwnerOf(path) is { } owner && owner.IsAlive())
                throw new IOException($"{path} belongs to process {owner.Id}, which is alive: choose another rank or group, or end that process.");
            Remove(path);
        }
        File.Delete(draft);
    }

    /// <summary>Removes every region and draft of this account whose owner is dead.</summary>
    public static void Sweep()
    {
        foreach (string path in Directory.EnumerateFiles(Folder, Prefix + "*"))
        {
            try
            {
                string[] parts = System.IO.Path.GetFileName(path).Split('.');
                if (parts.Length == 3 ? !Directory.Exists("/proc/" + parts[1]) : OwnerOf(path) is { } owner && !owner.IsAlive())
                    Remove(path);
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                continue; // another account's, or gone meanwhile: none of this one's business
            }
        }
    }

    /// <summary>
    /// Takes a dead owner's file away. Another process may do the same and put its own in place between look and removal; so the
    /// file is first moved aside, looked at again, and put back if it lives.
    /// </summary>
    private static void Remove(string path)
    {
        string aside = string.Create(CultureInfo.InvariantCulture, $"{path.Split('.')[0]}.{Environment.ProcessId}.{Guid.NewGuid():N}");
        try
        {
            File.Move(path, aside, overwrite: true);
        }
        catch (FileNotFoundException)
        {
            return;
        }
        if (!path.Contains('.', StringComparison.Ordinal) && OwnerOf(aside) is { } owner && owner.IsAlive())
            _ = Link(aside, path);
        File.Delete(aside);
    }

    private static PlatformNotSupportedException NoSharedMemory() => new($"Regions lie in {Folder}, which this system does not have: run on Linux.");

    private static ProcessIdentity? OwnerOf(string path)
    {
        using FileStream? stream = TryOpen(path);
        RegionHeader header;
        if (stream is null || stream.ReadAtLeast(new Span<byte>(&header, RegionHeader.Bytes), RegionHeader.Bytes, throwOnEndOfStream: false) < RegionHeader.Bytes)
            return null;
        return header.Magic == RegionHeader.MagicNumber ? new ProcessIdentity(header.OwnerId, header.OwnerStart) : null;
    }

    [GeneratedRegex("^[A-Za-z0-9_]{1,64}$")]
    private static partial Regex GroupName();

    [LibraryImport("libc", EntryPoint = "link", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Link(string from, string to);
}
