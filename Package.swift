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

/// For tests that wait more than they compute: half of the time of their compilation is its optimiser's.
let tests = strict + [.unsafeFlags(["-Onone"])]

/// Kernels and shims keep their bits and their speed in every configuration:
/// no contraction of a*b+c, optimised even in a debug build.
let native = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra", "-Werror"]

/// The commit that is built, as scripts/commit.sh says it; the Makefile hands it on.
let commit = Context.environment["TARN_COMMIT"] ?? "unknown"

let package = Package(
  name: "tarn",
  products: [
    .executable(name: "tarn", targets: ["CLI"]),
    .executable(name: "tarn-adopt", targets: ["CAdopt"]),
    .executable(name: "tarn-bench", targets: ["Benchmarks"]),
  ],
  // Exact, so that a clone of any day builds from the same sources.
  dependencies: [
    .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
    .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
  ],
  targets: [
    .target(
      name: "CMigrations", path: "Migrations/CMigrations", cSettings: [.unsafeFlags(native + ["-std=gnu23"])]),
    .target(
      name: "Migrations", dependencies: ["CMigrations"], path: "Migrations/Steps", swiftSettings: strict),

    .target(
      name: "CCpu", path: "Sources/Base/CCpu", cSettings: [.unsafeFlags(native)]),
    .target(
      name: "CSha256", dependencies: ["CCpu"], path: "Sources/Base/CSha256", cSettings: [.unsafeFlags(native)]),
    .target(name: "CThreads", path: "Sources/Base/CThreads", cSettings: [.unsafeFlags(native)]),
    .target(name: "CChild", path: "Sources/Base/CChild", cSettings: [.unsafeFlags(native)]),
    .target(
      name: "Base", dependencies: ["CChild", "CSha256", "CThreads"], path: "Sources/Base",
      exclude: ["CChild", "CCpu", "CSha256", "CThreads"], swiftSettings: strict),

    .target(
      name: "CRows", dependencies: ["CCpu"], path: "Sources/Features/CRows", cSettings: [.unsafeFlags(native)]),
    .target(
      name: "CZip", path: "Sources/Features/CZip", cSettings: [.unsafeFlags(native)],
      linkerSettings: [.linkedLibrary("z")]),
    .target(
      name: "Features", dependencies: ["Base", "CCpu", "CRows", "CZip", "Parquet"], path: "Sources/Features",
      exclude: ["CRows", "CZip"], swiftSettings: strictMemory),

    .target(
      name: "CParquet", path: "Sources/Parquet/CParquet", cSettings: [.unsafeFlags(native)],
      linkerSettings: [.linkedLibrary("snappy"), .linkedLibrary("z"), .linkedLibrary("zstd")]),
    .target(
      name: "Parquet", dependencies: ["Base", "CParquet"], path: "Sources/Parquet", exclude: ["CParquet"],
      swiftSettings: strictMemory),

    .target(
      name: "CUnpack", path: "Sources/Companions/CUnpack", cSettings: [.unsafeFlags(native)],
      linkerSettings: [.linkedLibrary("z"), .linkedLibrary("zstd")]),
    .target(
      name: "Companions", dependencies: ["Base", "CUnpack", "Parquet"], path: "Sources/Companions",
      exclude: ["CUnpack"], swiftSettings: strict),

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
      cSettings: [.unsafeFlags(native)]),
    .target(
      name: "Fetch",
      dependencies: [
        "Base", "CCurl", "Features", .product(name: "Logging", package: "swift-log"),
      ],
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
    .executableTarget(
      name: "CAdopt", path: "Sources/Indexer/CAdopt",
      cxxSettings: [.unsafeFlags(native + ["-std=c++17", "-Wno-unused-parameter"])],
      linkerSettings: [
        .linkedLibrary("faiss"), .linkedLibrary("openblas"),
        .linkedLibrary("gomp"), .linkedLibrary("stdc++"), .linkedLibrary("m"),
      ]),
    .target(
      name: "Indexer",
      dependencies: [
        "Base", "CCodec", "CCpu", "CKernels", "CRows", "CScan", "Features",
        .product(name: "Logging", package: "swift-log"),
      ],
      path: "Sources/Indexer", exclude: ["CAdopt", "CCodec", "CFaiss", "CKernels", "CScan"], swiftSettings: strictMemory
    ),

    .target(
      name: "Tasks",
      dependencies: ["Base", "Features", "Fetch", "Indexer", .product(name: "Logging", package: "swift-log")],
      swiftSettings: strict),
    .target(
      name: "CBuild", path: "Sources/Lake/CBuild",
      cSettings: [.unsafeFlags(native), .define("TARN_COMMIT", to: "\"\(commit)\"")],
      linkerSettings: [.linkedLibrary("openblas"), .linkedLibrary("sqlite3")]),
    .target(
      name: "Lake",
      dependencies: [
        "Base", "CBuild", "Catalog", "Companions", "Features", "Fetch", "Indexer", "Tasks",
        .product(name: "Logging", package: "swift-log"),
      ],
      exclude: ["CBuild"], swiftSettings: strict),

    .target(name: "Report", dependencies: ["Base"], swiftSettings: strict),

    .target(
      name: "Serve",
      dependencies: [
        "Base", "Lake", "Report",
        .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ],
      resources: [.embedInCode("Pages/tarn.css"), .embedInCode("Pages/tarn.js")], swiftSettings: strict),

    .executableTarget(
      name: "CLI",
      dependencies: [
        "Base", "Lake", "Report", "Serve",
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
      dependencies: [
        "Base", "CUnpack", "Catalog", "Companions", "Features", "Fetch", "Indexer", "Parquet", "Tasks", "TestSupport",
      ],
      path: "Tests/Fuzz/Readers",
      swiftSettings: strict),
    .testTarget(name: "BaseTests", dependencies: ["Base", "CSha256"], swiftSettings: strict),
    .testTarget(name: "RepositoryTests", swiftSettings: strict),
    .testTarget(name: "ParquetTests", dependencies: ["Base", "Parquet", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "CompanionsTests", dependencies: ["Base", "Companions", "CUnpack", "TestSupport"], swiftSettings: strict),
    .testTarget(
      name: "CatalogTests",
      dependencies: ["Base", "Catalog", "Migrations", "TestSupport", .product(name: "GRDB", package: "GRDB.swift")],
      swiftSettings: tests),
    .testTarget(
      name: "FetchTests", dependencies: ["Base", "Catalog", "Features", "Fetch", "Lake", "TestSupport"],
      swiftSettings: tests),
    .testTarget(
      name: "IndexerTests",
      dependencies: [
        "Base", "Indexer", "CCodec", "CCpu", "CFaiss", "CKernels", "CRows", "CScan", "Catalog", "Features",
        "FuzzReaders", "Report",
        "TestSupport",
      ],
      swiftSettings: strict),
    .testTarget(
      name: "ServeTests", dependencies: ["Base", "Lake", "Serve", "TestSupport"], swiftSettings: tests),
    .testTarget(
      name: "TasksTests", dependencies: ["Base", "Indexer", "Lake", "Tasks", "TestSupport"], swiftSettings: tests),
    .testTarget(
      name: "CLITests",
      dependencies: [
        "Base", "CLI", "Catalog", "Features", "Fetch", "Lake", "TestSupport",
        .product(name: "GRDB", package: "GRDB.swift"),
      ],
      swiftSettings: tests),
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
