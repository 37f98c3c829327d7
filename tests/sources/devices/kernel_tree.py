"""A synthetic /sys and /proc with AMD cards, as the kernel documents them, for tests on machines without one.

Layouts: Documentation/gpu/amdgpu (sysfs), Documentation/gpu/drm-usage-stats.rst and amdgpu_fdinfo.c of each generation
(fdinfo), kfd_topology.c and kfd_process.c (KFD). The generations of fdinfo:

    5.15  "vram mem: N kB" and "pdev:"; no client number, but the number of the address space (pasid)
    6.8   drm-memory-* alone
    6.14  drm-memory-*, drm-total-*, drm-resident-* and more; a zero has no unit; a blank before a tab
"""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

GENERATIONS = ("5.15", "6.8", "6.14")
KIB, MIB, GIB = 1024, 1024**2, 1024**3
RX_7900_XTX = ("0x744c", "0xc8")
STRIX_HALO = ("0x1586", "0xc1")


@dataclass
class AmdTree:
    """The tree under `root`. Cards get their node names in the order in which they are added."""

    root: Path
    generation: str = "6.14"
    has_kfd: bool = True
    homes: dict[str, Path] = field(default_factory=dict)
    gpu_ids: dict[str, int] = field(default_factory=dict)
    _count: int = 0

    def __post_init__(self) -> None:
        (self.root / "sys/class/drm").mkdir(parents=True)
        (self.root / "proc").mkdir()
        (self.root / "sys/class/drm/version").write_text("drm 1.1.0 20060810\n")
        if self.has_kfd:
            (self.root / "sys/class/kfd/kfd/proc").mkdir(parents=True)
            self.node(0, gpu_id=0, simd_count=0, location_id=0)

    def card(
        self,
        address: str,
        *,
        vram: tuple[int, int] = (24 * GIB, GIB),
        gtt: tuple[int, int] = (16 * GIB, 64 * MIB),
        product: tuple[str, str] = RX_7900_XTX,
        driver: str = "amdgpu",
        kfd_node: int | None = None,
    ) -> Path:
        """A card; `vram` and `gtt` are total and used."""
        index, self._count = self._count, self._count + 1
        home = self.root / f"sys/devices/pci0000:00/{address}"
        node = home / f"drm/card{index}"
        node.mkdir(parents=True)
        (node / "device").symlink_to("../../../" + address)
        drivers = self.root / "sys/bus/pci/drivers" / driver
        drivers.mkdir(parents=True, exist_ok=True)
        (home / "driver").symlink_to(drivers)
        (self.root / f"sys/class/drm/card{index}").symlink_to(node)
        (self.root / f"sys/class/drm/card{index}-DP-1").mkdir()
        (self.root / f"sys/class/drm/renderD{128 + index}").mkdir()
        self.homes[address] = home
        self.put(address, vendor="0x1002", device=product[0], revision=product[1], unique_id=f"{index + 1:016x}")
        self.put(address, **{"power/runtime_status": "active", "gpu_busy_percent": 42})
        self.put(address, mem_info_vram_total=vram[0], mem_info_vram_used=vram[1])
        self.put(address, mem_info_gtt_total=gtt[0], mem_info_gtt_used=gtt[1])
        self.put(address, **{"hwmon/hwmon3/temp1_input": 61000, "hwmon/hwmon3/power1_average": 250_000_000})
        self.put(address, **{"hwmon/hwmon3/power1_cap": 339_000_000, "hwmon/hwmon3/freq1_input": 2_400_000_000})
        self.put(address, pp_dpm_sclk="0: 500Mhz\n1: 2400Mhz *\n2: 2526Mhz")
        if self.has_kfd:
            domain, bus, rest = address.split(":")
            slot, function = rest.split(".")
            self.gpu_ids[address] = 30381 + index
            self.node(
                index + 1 if kfd_node is None else kfd_node,
                gpu_id=30381 + index,
                simd_count=192,
                location_id=int(bus, 16) << 8 | int(slot, 16) << 3 | int(function),
                domain=int(domain, 16),
            )
        return home

    def put(self, address: str, **files: object) -> None:
        """Write files of the card's folder, each with a newline as sysfs does."""
        for name, content in files.items():
            path = self.homes[address] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{content}\n")

    def node(self, index: int, **properties: int) -> None:
        """One node of KFD's topology."""
        home = self.root / f"sys/class/kfd/kfd/topology/nodes/{index}"
        home.mkdir(parents=True)
        (home / "gpu_id").write_text(f"{properties.pop('gpu_id')}\n")
        lines = [*(f"{name} {value}" for name, value in properties.items()), "vendor_id 4098", "unique_id 0"]
        (home / "properties").write_text("\n".join(lines) + "\n")

    def opens(
        self,
        pid: int,
        address: str,
        *,
        vram: int = 0,
        gtt: int = 0,
        client: int | None = None,
        fd: int = 7,
        driver: str = "amdgpu",
    ) -> None:
        """A process has the card open under that descriptor. `client` may be open in other descriptors too."""
        home = self.root / "proc" / str(pid)
        for folder in ("fd", "fdinfo"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        for name, target in (("0", "/dev/null"), ("3", "socket:[4711]")):
            if not (home / "fd" / name).is_symlink():
                (home / "fd" / name).symlink_to(target)
        link = home / "fd" / str(fd)
        if not link.is_symlink():
            link.symlink_to("/dev/dri/renderD128")
        number = pid if client is None else client
        (home / "fdinfo" / str(fd)).write_text(self.fdinfo(address, number, vram, gtt, driver))

    def fdinfo(self, address: str, client: int, vram: int, gtt: int, driver: str) -> str:
        """The text of that generation."""
        head = "pos:\t0\nflags:\t02100002\nmnt_id:\t24\nino:\t614\n"
        if self.generation == "5.15":
            return (
                f"{head}pdev:\t{address}\npasid:\t{32768 + client}\nvram mem:\t{vram // KIB} kB\n"
                f"gtt mem:\t{gtt // KIB} kB\ncpu mem:\t0 kB\ngfx0:\t12.34%\n"
            )
        head += f"drm-driver:\t{driver}\ndrm-client-id:\t{client}\ndrm-pdev:\t{address}\npasid:\t0\n"
        memory = f"drm-memory-vram:\t{vram // KIB} KiB\ndrm-memory-gtt: \t{gtt // KIB} KiB\ndrm-memory-cpu: \t0 KiB\n"
        if self.generation == "6.8":
            return f"{head}{memory}amd-memory-visible-vram:\t0 KiB\ndrm-engine-gfx:\t123456789 ns\n"
        sized = {"vram": vram, "gtt": gtt}
        lines = "".join(
            f"drm-total-{region}:\t{_size(size)}\ndrm-shared-{region}:\t0\ndrm-resident-{region}:\t{_size(size)}\n"
            f"drm-purgeable-{region}:\t0\n"
            for region, size in sized.items()
        )
        return f"{head}{lines}{memory}amd-evicted-vram:\t0 KiB\ndrm-engine-gfx:\t123456789 ns\n"

    def computes(self, pid: int, address: str, vram: object) -> None:
        """A process has ROCm open, and KFD counts that much of it on the card. Any text for a file that is odd."""
        home = self.root / f"sys/class/kfd/kfd/proc/{pid}"
        home.mkdir(exist_ok=True)
        (home / "pasid").write_text("0\n")
        (home / f"vram_{self.gpu_ids[address]}").write_text(f"{vram}\n")

    def ends(self, pid: int) -> None:
        """The process is gone."""
        for home in (self.root / "proc" / str(pid), self.root / f"sys/class/kfd/kfd/proc/{pid}"):
            shutil.rmtree(home, ignore_errors=True)

    def unplug(self, address: str) -> None:
        """The card is gone from the bus."""
        shutil.rmtree(self.homes.pop(address))


def _size(size: int) -> str:
    """As drm_print_memory_stats writes it: bytes without a unit unless they are whole KiB or MiB."""
    if size == 0 or size % KIB:
        return str(size)
    return f"{size // MIB} MiB" if size % MIB == 0 else f"{size // KIB} KiB"


@dataclass
class IntelTree(AmdTree):
    """The same with cards of Intel: xe's and i915's words in fdinfo, no KFD, and a render node beside each card."""

    has_kfd: bool = False
    driver: str = "xe"

    def arc(self, address: str, device: str = "0xe20b", tile_bytes: int | None = None) -> Path:
        """A card; `tile_bytes` is what sysfs of xe says of its memory, if it says it."""
        home = self.card(address, product=(device, "0x00"), driver=self.driver)
        for name in ("mem_info_vram_total", "mem_info_vram_used", "mem_info_gtt_total", "mem_info_gtt_used"):
            (home / name).unlink()
        self.put(address, vendor="0x8086", **{"hwmon/hwmon3/temp2_input": 54000})
        (home / f"drm/renderD{127 + self._count}").mkdir()
        if tile_bytes is not None:
            self.put(address, **{"tile0/physical_vram_size_bytes": tile_bytes})
        return home

    def fdinfo(self, address: str, client: int, vram: int, gtt: int, driver: str) -> str:
        """As xe and i915 write it (kernel documentation of both, and a capture of xe)."""
        driver = self.driver if driver == "amdgpu" else driver
        own = "vram0" if driver == "xe" else "local0"
        system = "system" if driver == "xe" else "system0"
        sized = {system: gtt, own: vram} | ({"gtt": gtt // 2, "stolen": 0} if driver == "xe" else {})
        lines = "".join(
            f"drm-total-{region}:\t{_size(size)}\ndrm-shared-{region}:\t0\ndrm-resident-{region}:\t{_size(size)}\n"
            f"drm-purgeable-{region}:\t0\ndrm-active-{region}:\t0\n"
            for region, size in sized.items()
        )
        head = f"pos:\t0\nflags:\t02100002\ndrm-driver:\t{driver}\ndrm-client-id:\t{client}\ndrm-pdev:\t{address}\n"
        return f"{head}{lines}drm-cycles-rcs:\t12345678\ndrm-total-cycles-rcs:\t9000000000\n"
