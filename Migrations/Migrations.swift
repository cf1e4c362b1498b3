package enum Migrations { package static let x = PackageResources.M0001_catalog_sql }
