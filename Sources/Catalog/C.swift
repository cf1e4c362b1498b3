internal import GRDB
internal import Migrations
