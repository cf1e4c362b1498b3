// swift-tools-version: 6.2
import PackageDescription

/// What every Swift target is compiled with: Swift 6 mode, the upcoming
/// features of the house style, and warnings as errors.
let strict: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
  .treatAllWarnings(as: .error),
]

/// For the targets that hold C handles and raw vectors.
let strictMemory = strict + [.strictMemorySafety()]

/// Kernels and shims keep their bits and their speed in every configuration:
/// no contraction of a*b+c, optimised even in a debug build.
let native = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Werror"]

let package = Package(
  name: "tarn",
  products: [
    .executable(name: "tarn", targets: ["CLI"]),
    .executable(name: "tarn-bench", targets: ["Benchmarks"]),
  ],
  // Exact, so that a clone of any day builds from the same sources.
  dependencies: [
    .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
  ],
  targets: [
    .target(
      name: "Migrations", path: "Migrations",
      resources: [
        .embedInCode("M0001_catalog.sql"), .embedInCode("M0002_history.sql"), .embedInCode("M0003_totals.sql"),
        .embedInCode("M0004_evaluation.sql"), .embedInCode("M0005_chunks.sql"),
        .embedInCode("M0006_router.sql"), .embedInCode("M0007_locations.sql"),
        .embedInCode("M0008_views.sql"),
        .embedInCode("M0009_ranges.sql"), .embedInCode("M0010_indexes.sql"),
        .embedInCode("M0011_stored_bytes.sql"), .embedInCode("M0012_guards.sql"),
        .embedInCode("M0013_views.sql"),
        .embedInCode("M0014_trust.sql"), .embedInCode("M0015_ways_back.sql"),
        .embedInCode("M0016_tombstones.sql"), .embedInCode("M0017_published.sql"),
        .embedInCode("Views.sql"),
      ], swiftSettings: strict),

    .target(
      name: "CCpu", path: "Sources/Base/CCpu", cSettings: [.unsafeFlags(native)]),
    .target(
      name: "CSha256", dependencies: ["CCpu"], path: "Sources/Base/CSha256", cSettings: [.unsafeFlags(native)]),
    .target(name: "CThreads", path: "Sources/Base/CThreads", cSettings: [.unsafeFlags(native)]),
    .target(
      name: "Base", dependencies: ["CSha256", "CThreads"], path: "Sources/Base",
      exclude: ["CCpu", "CSha256", "CThreads"], swiftSettings: strict),

    .target(
      name: "CRows", dependencies: ["CCpu"], path: "Sources/Features/CRows", cSettings: [.unsafeFlags(native)]),
    .target(
      name: "Features", dependencies: ["Base", "CCpu", "CRows"], path: "Sources/Features", exclude: ["CRows"],
      swiftSettings: strictMemory),

    .target(
      name: "CParquet", path: "Sources/Parquet/CParquet", cSettings: [.unsafeFlags(native)],
      linkerSettings: [.linkedLibrary("snappy"), .linkedLibrary("z"), .linkedLibrary("zstd")]),
    .target(
      name: "Parquet", dependencies: ["Base", "CParquet"], path: "Sources/Parquet", exclude: ["CParquet"],
      swiftSettings: strictMemory),

    .target(
      name: "Catalog",
      dependencies: [
        "Base", "Migrations",
        .product(name: "GRDB", package: "GRDB.swift"),
        .product(name: "GRDBSQLite", package: "GRDB.swift"),
      ],
      path: "Sources/Catalog", swiftSettings: strict),

    .target(
      name: "CCurl", path: "Sources/Fetch/CCurl",
      cSettings: [.unsafeFlags(native)], linkerSettings: [.linkedLibrary("curl")]),
    .target(
      name: "Fetch",
      dependencies: ["Base", "CCurl", "Features", .product(name: "Logging", package: "swift-log")],
      path: "Sources/Fetch", exclude: ["CCurl"], swiftSettings: strictMemory),

    .target(
      name: "CKernels", dependencies: ["CCpu", "CRows"], path: "Sources/Indexer/CKernels",
      cSettings: [.unsafeFlags(native)],
      linkerSettings: [.linkedLibrary("openblas"), .linkedLibrary("m")]),
    .target(
      name: "CCodec", dependencies: ["CCpu", "CRows"], path: "Sources/Indexer/CCodec", cSettings: [.unsafeFlags(native)]
    ),
    .target(
      name: "CScan", dependencies: ["CCodec", "CCpu", "CRows"], path: "Sources/Indexer/CScan",
      cSettings: [.unsafeFlags(native)]),
    .target(
      name: "CFaiss", path: "Sources/Indexer/CFaiss",
      cxxSettings: [.unsafeFlags(native + ["-std=c++17", "-Wno-unused-parameter"])],
      linkerSettings: [
        .linkedLibrary("faiss"), .linkedLibrary("openblas"),
        .linkedLibrary("gomp"), .linkedLibrary("stdc++"),
      ]),
    .target(
      name: "Indexer",
      dependencies: [
        "Base", "CCodec", "CCpu", "CKernels", "CRows", "CScan", "Features",
        .product(name: "Logging", package: "swift-log"),
      ],
      path: "Sources/Indexer", exclude: ["CCodec", "CFaiss", "CKernels", "CScan"], swiftSettings: strictMemory),

    .target(
      name: "Tasks",
      dependencies: ["Base", "Features", "Fetch", "Indexer", .product(name: "Logging", package: "swift-log")],
      swiftSettings: strict),
    .target(
      name: "Lake",
      dependencies: [
        "Base", "Catalog", "Features", "Fetch", "Indexer", "Tasks", .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: strict),

    .target(name: "Report", dependencies: ["Base"], swiftSettings: strict),

    .executableTarget(
      name: "CLI",
      dependencies: [
        "Base", "Lake", "Report",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ],
      path: "Sources/CLI", swiftSettings: strict),

    .target(
      name: "CPeers", path: "Tests/Benchmarks/CPeers",
      cxxSettings: [.unsafeFlags(native + ["-std=c++17", "-Wno-unused-parameter"])],
      linkerSettings: [
        .linkedLibrary("dnnl"), .linkedLibrary("faiss"), .linkedLibrary("openblas"), .linkedLibrary("gomp"),
        .linkedLibrary("stdc++"),
      ]),
    .executableTarget(
      name: "Benchmarks",
      dependencies: [
        "Base", "CFaiss", "CKernels", "CPeers", "Catalog", "Features", "Indexer", "Lake", "Parquet", "Tasks",
        .product(name: "Logging", package: "swift-log"),
      ],
      path: "Tests/Benchmarks", exclude: ["CPeers", "python"], swiftSettings: strict),

    .target(
      name: "TestSupport",
      dependencies: [
        "Base", "Catalog", "Features", "Migrations", "Parquet", .product(name: "GRDB", package: "GRDB.swift"),
      ],
      path: "Tests/TestSupport", swiftSettings: strict),
    .target(
      name: "FuzzReaders",
      dependencies: ["Base", "Catalog", "Features", "Fetch", "Indexer", "Parquet", "Tasks", "TestSupport"],
      path: "Tests/Fuzz/Readers",
      swiftSettings: strict),
    .testTarget(name: "BaseTests", dependencies: ["Base", "CSha256"], swiftSettings: strict),
    .testTarget(name: "HouseTests", swiftSettings: strict),
    .testTarget(name: "ParquetTests", dependencies: ["Base", "Parquet", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "CatalogTests",
      dependencies: ["Base", "Catalog", "Migrations", "TestSupport", .product(name: "GRDB", package: "GRDB.swift")],
      swiftSettings: strict),
    .testTarget(
      name: "FetchTests", dependencies: ["Base", "Catalog", "Features", "Fetch", "Lake", "TestSupport"],
      swiftSettings: strict),
    .testTarget(
      name: "IndexerTests",
      dependencies: [
        "Base", "Indexer", "CCodec", "CCpu", "CFaiss", "CKernels", "CRows", "CScan", "Catalog", "Features",
        "FuzzReaders", "Report",
        "TestSupport",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "TasksTests", dependencies: ["Base", "Indexer", "Lake", "Tasks", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "CLITests",
      dependencies: [
        "Base", "CLI", "Catalog", "Features", "Fetch", "Lake", "TestSupport",
        .product(name: "GRDB", package: "GRDB.swift"),
      ],
      swiftSettings: strict),
  ],
  cxxLanguageStandard: .cxx17
)

// libFuzzer is linked by `--sanitize fuzzer` alone, so only scripts/fuzz.sh
// builds its driver.
if Context.environment["TARN_FUZZ"] != nil {
  package.products.append(.executable(name: "tarn-fuzz", targets: ["FuzzDriver"]))
  package.targets += [
    .executableTarget(
      name: "FuzzDriver", dependencies: ["FuzzReaders"], path: "Tests/Fuzz/Driver",
      swiftSettings: strict)
  ]
}
